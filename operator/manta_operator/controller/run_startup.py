"""Before the operator runs: find credentials, and reach the API server with them.

What a person has to put right ends the process with one sentence (`CannotStart`). An API server that is away is waited
for, and so is the CRD: whoever installs the cluster brings them up in any order.
"""

import asyncio
import logging
import os
import ssl
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import yaml
from kubernetes.aio import config as kube_config

from manta_operator.api import names
from manta_operator.controller.credentials import Credentials
from manta_operator.controller.probes import progress
from manta_operator.controller.run_crd import lacking

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
REFUSED_SECONDS = 60.0
"""How long a 401 is waited for: an API server that starts may not know yet who signs its tokens."""
_REFUSED = "401 Unauthorized"
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_BROKEN = (kube_config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, AttributeError, KeyError)
"""What the loader lets out: it does not check the shape of a kubeconfig before it reads it."""


class CannotStart(Exception):
    """The operator cannot run until somebody has changed something; the text says what."""


@dataclass(frozen=True)
class Link:
    """A session that authenticates every request, and the server it is for."""

    session: aiohttp.ClientSession
    server: str


@asynccontextmanager
async def link() -> AsyncIterator[Link]:
    """Load KUBECONFIG, or what a pod has, or kubectl's default file, and open a session with it.

    Raises:
        CannotStart: there are none, or they cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="manta-") as scratch:
        credentials = Credentials(None, None, Path(scratch))
        try:
            await credentials.load()
            session = credentials.session()
        except _BROKEN as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise CannotStart(
                f"no usable credentials for a Kubernetes API server in {_place()}: {said}; "
                "set KUBECONFIG, or run in a pod with a ServiceAccount"
            ) from error
        log.info("credentials from %s, API server %s", _place(), credentials.server)
        async with session:
            yield Link(session, credentials.server)


async def reach(to: Link) -> None:
    """Wait until the API server answers, and serves LLMDeployments as this version of Manta knows them.

    Raises:
        CannotStart: it does not accept who we are, or is not who it should be.
    """
    told, since = "", None
    while problem := await _try(to):
        if problem != told:
            log.warning("API server %s: %s; trying again every %g s", to.server, problem, RETRY_SECONDS)
        told = problem
        progress.waits = partial(str, f"waiting for the API server {to.server}: {problem}")
        since = (since or time.monotonic()) if problem == _REFUSED else None
        if since and time.monotonic() - since >= REFUSED_SECONDS:
            raise CannotStart(
                f"{to.server} refuses the credentials from {_place()} ({problem}) for {REFUSED_SECONDS:g} s: "
                "renew the token or certificate"
            )
        await asyncio.sleep(RETRY_SECONDS)


async def _try(to: Link) -> str:
    """Ask once; return why that was no answer, empty if it was one. Raises CannotStart."""
    try:
        async with to.session.get(f"{to.server}/apis/{names.API_VERSION}", timeout=_TIMEOUT) as answer:
            status = answer.status
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
        raise CannotStart(
            f"{to.server} is not the API server of these credentials: {error}; check the address and "
            "certificate-authority in the kubeconfig"
        ) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return str(error) or type(error).__name__
    if status == 401:
        return _REFUSED
    if status == 404:
        return f"{names.PLURAL}.{names.GROUP} {names.VERSION} is not served: install the CRD"
    if status >= 500 or status == 429:
        return f"HTTP {status}"
    if field := await lacking(to.session, to.server):
        return (
            f"the CRD {names.PLURAL}.{names.GROUP} is of another version of Manta, it has no {field}: apply the one of "
            "this version (crds/)"
        )
    return ""


def _place() -> str:
    if "KUBECONFIG" in os.environ:
        return f"KUBECONFIG={os.environ['KUBECONFIG']}"
    return "the pod's ServiceAccount" if "KUBERNETES_SERVICE_HOST" in os.environ else "~/.kube/config"
