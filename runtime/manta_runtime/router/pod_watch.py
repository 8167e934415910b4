"""List and watch the engines' head pods at the API server, and keep `membership.Members` up to date.

When the API server is away the last known pods stay: engines do not stop because the API server did.
"""

import asyncio
import json
import logging
import os
import random
from collections.abc import Callable
from typing import Any

import aiohttp
from kubernetes.aio import client
from kubernetes.aio import config as kube_config

from manta_runtime.router.config import ConfigError
from manta_runtime.router.membership import Members

log = logging.getLogger(__name__)

_WATCH_SECONDS = 60  # the server ends a watch after this; a silent connection is noticed soon after
_REQUEST_SECONDS = 10
_BACKOFF_SECONDS = (0.2, 5.0)  # first, last
_LOST = (aiohttp.ClientError, client.ApiException, TimeoutError, OSError, ValueError, KeyError)


class _GoneError(Exception):
    """The resource version is too old: list again."""


class PodWatch:
    """Follows the pods of `namespace` that match `selector` into `members`; `on_change` is called after each change.

    `on_away`: called when the API server does not answer, and never has.
    """

    def __init__(
        self,
        members: Members,
        namespace: str,
        selector: str,
        on_change: Callable[[], None],
        on_away: Callable[[], None] = lambda: None,
    ) -> None:
        self._members = members
        self._namespace = namespace
        self._selector = selector
        self._on_change = on_change
        self._on_away = on_away
        self.synced = False

    async def run(self) -> None:
        """Follow for ever. ConfigError if there are no credentials for an API server."""
        configuration = await _credentials()
        async with client.ApiClient(configuration) as api:
            pods = client.CoreV1Api(api)
            version, failures = "", 0
            while True:
                try:
                    if not version:
                        version = await self._list(pods)
                        failures = 0
                    version = await self._watch(pods, version)
                    failures = 0
                except _GoneError:
                    version = ""
                except _LOST as error:
                    failures += 1
                    await self._back_off(failures, error)
                    version = ""

    async def _back_off(self, failures: int, error: Exception) -> None:
        if not self.synced:
            self._on_away()
        first, last = _BACKOFF_SECONDS
        delay = min(last, first * 2 ** min(failures - 1, 10)) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        known = self._members.known
        log.warning("no pods from the API server (%s): keeping %d, again in %.1f s", _short(error), known, delay)
        await asyncio.sleep(delay)

    async def _list(self, pods: Any) -> str:
        response = await pods.list_namespaced_pod_without_preload_content(
            self._namespace, label_selector=self._selector, _request_timeout=_REQUEST_SECONDS
        )
        async with response:
            document = json.loads(await response.read())
            if response.status != 200:
                raise client.ApiException(status=response.status, reason=document.get("message"))
        version: str = document["metadata"]["resourceVersion"]
        self._members.replace(document["items"])
        if not self.synced:
            log.info("found %d replicas, %d ready", self._members.known, len(self._members.ready))
        self.synced = True
        self._on_change()
        return version

    async def _watch(self, pods: Any, version: str) -> str:
        """Apply events until the server ends the watch; returns the version to go on from."""
        response = await pods.list_namespaced_pod_without_preload_content(
            self._namespace,
            label_selector=self._selector,
            watch=True,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=_WATCH_SECONDS,
            _request_timeout=_WATCH_SECONDS + 15,
        )
        async with response:
            if response.status == 410:
                raise _GoneError
            if response.status != 200:
                raise client.ApiException(status=response.status, reason=(await response.text())[:200])
            started = asyncio.get_running_loop().time()
            while line := await response.content.readline():
                version = self._event(json.loads(line))
            if asyncio.get_running_loop().time() - started < 1:
                await asyncio.sleep(1)  # a server that ends watches at once must not be hammered
        return version

    def _event(self, event: dict[str, Any]) -> str:
        kind, body = event["type"], event["object"]
        if kind == "ERROR":
            if body.get("code") == 410:
                raise _GoneError
            raise client.ApiException(status=body.get("code"), reason=body.get("message"))
        if kind != "BOOKMARK":
            before = self._members.ready
            self._members.apply(kind, body)
            _tell(before, self._members)
            self._on_change()
        version: str = body["metadata"]["resourceVersion"]
        return version


def _tell(before: tuple[Any, ...], members: Members) -> None:
    if members.ready != before:
        names = ", ".join(e.name for e in members.ready) or "none"
        log.info("ready replicas: %s (of %d)", names, members.known)


async def _credentials() -> Any:
    configuration = client.Configuration()
    try:
        if file := os.environ.get("KUBECONFIG"):
            await kube_config.load_kube_config(config_file=file, client_configuration=configuration)
        else:
            kube_config.load_incluster_config(client_configuration=configuration)
    except (kube_config.ConfigException, OSError) as error:
        raise ConfigError(
            f"no credentials for the API server: {error}. Run in a pod with a service account, or set KUBECONFIG"
        ) from error
    configuration.retries = False
    return configuration


def _short(error: Exception) -> str:
    if isinstance(error, client.ApiException):
        return f"{error.status} {error.reason}"
    return str(error) or type(error).__name__
