"""Before the operator runs: find credentials, and reach the API server with them.

What a person has to put right ends the process with one sentence (`CannotStart`); an API server that is away is waited
for, since a cluster that starts brings the two up in any order.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import yaml
from kubernetes.aio import client as kube
from kubernetes.aio import config as kube_config

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
_BROKEN = (kube_config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, AttributeError, KeyError)
"""What the loader lets out: it does not check the shape of a kubeconfig before it reads it."""


class CannotStart(Exception):
    """The operator cannot run until somebody has changed something; the text says what."""


@asynccontextmanager
async def credentials() -> AsyncIterator[Any]:
    """Load KUBECONFIG, or what a pod has, or kubectl's default file, and yield an API client with them.

    Raises:
        CannotStart: there are none, or they cannot be read.
    """
    try:
        source = await _load()
        api = kube.ApiClient()
    except _BROKEN as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise CannotStart(
            f"no usable credentials for a Kubernetes API server in {_place()}: {said}; "
            "set KUBECONFIG, or run in a pod with a ServiceAccount"
        ) from error
    log.info("credentials from %s, API server %s", source, api.configuration.host)
    async with api:
        yield api


async def reach(api: Any) -> None:
    """Wait until the API server answers.

    Raises:
        CannotStart: it does not accept who we are, or is not who it should be.
    """
    told = ""
    while True:
        try:
            response = await kube.CoreApi(api).get_api_versions_without_preload_content(_request_timeout=10)
        except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
            raise CannotStart(
                f"{api.configuration.host} is not the API server of these credentials: {error}; check the address and "
                "certificate-authority in the kubeconfig"
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = str(error) or type(error).__name__
        else:
            if response.status == 401:
                raise CannotStart(
                    f"{api.configuration.host} refuses the credentials from {_place()} (401 Unauthorized): "
                    "renew the token or certificate"
                )
            if response.status < 500 and response.status != 429:
                return
            problem = f"HTTP {response.status}"
        if problem != told:
            log.warning("API server %s: %s; trying again every %g s", api.configuration.host, problem, RETRY_SECONDS)
        told = problem
        await asyncio.sleep(RETRY_SECONDS)


async def _load() -> str:
    if "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
        kube_config.load_incluster_config()
    else:
        await kube_config.load_kube_config()
    return _place()


def _place() -> str:
    if "KUBECONFIG" in os.environ:
        return f"KUBECONFIG={os.environ['KUBECONFIG']}"
    return "the pod's ServiceAccount" if "KUBERNETES_SERVICE_HOST" in os.environ else "~/.kube/config"
