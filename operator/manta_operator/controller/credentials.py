"""Who we are to the API server: address, trust and token, from a kubeconfig or a pod's ServiceAccount.

Tokens expire and are replaced: an answer 401 makes the credentials be read again, once for everybody who waits.
Everything that talks to the API server, kopf included, does so through a session made here.
"""

import asyncio
import os
import ssl
import time
from pathlib import Path

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration

RENEW_SECONDS = 5.0
"""How often at most the credentials are read again."""


class Credentials:
    """The present credentials; `session` keeps using whatever they become."""

    def __init__(self, kubeconfig: Path | None, context: str | None, scratch: Path | None) -> None:
        self._kubeconfig, self._context, self._scratch = kubeconfig, context, scratch
        self._configuration: Configuration = None
        self._loaded = 0.0
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Read them. Raises kubernetes.aio.config.ConfigException: there are none."""
        configuration = Configuration()
        if self._kubeconfig is not None or self._context is not None or "KUBECONFIG" in os.environ:
            await self._from_file(configuration)
        else:
            try:
                kube_config.load_incluster_config(client_configuration=configuration)
            except kube_config.ConfigException:
                await self._from_file(configuration)
        self._configuration, self._loaded = configuration, time.monotonic()

    async def _from_file(self, configuration: Configuration) -> None:
        await kube_config.load_kube_config(
            config_file=str(self._kubeconfig) if self._kubeconfig else None,
            context=self._context,
            client_configuration=configuration,
            temp_file_path=str(self._scratch) if self._scratch else None,
        )

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self._configuration.host).rstrip("/")

    async def renew(self) -> None:
        """Read them again, unless that was just done; what cannot be read leaves them as they are."""
        async with self._lock:
            if time.monotonic() - self._loaded < RENEW_SECONDS:
                return
            self._loaded = time.monotonic()
            try:
                await self.load()
            except (kube_config.ConfigException, OSError):
                return

    def session(self, *middlewares: aiohttp.ClientMiddlewareType, limit: int = 100) -> aiohttp.ClientSession:
        """Open a session that authenticates each request; `middlewares` see the answers first.

        Args:
            middlewares: Called before the authentication, in their order.
            limit: Connections at once; each watch holds one for good.
        """
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limit, ssl=self._tls()),
            middlewares=(*middlewares, self._authenticate),
            proxy=self._configuration.proxy,
            read_bufsize=1 << 18,
        )

    def _tls(self) -> ssl.SSLContext:
        ours = self._configuration
        tls = ssl.create_default_context(cafile=ours.ssl_ca_cert, cadata=ours.ca_cert_data)
        # Certificate authorities of clusters predate the strictness of newer Pythons.
        tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if ours.cert_file:
            tls.load_cert_chain(ours.cert_file, keyfile=ours.key_file)
        if not ours.verify_ssl:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        return tls

    async def _authenticate(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        used = await self._authorize(request)
        answer = await handler(request)
        if answer.status != 401:
            return answer
        await self.renew()
        if await self._authorize(request) == used:
            return answer
        answer.release()
        return await handler(request)

    async def _authorize(self, request: aiohttp.ClientRequest) -> str | None:
        header: str | None = await self._configuration.get_api_key_with_prefix("BearerToken", "authorization")
        if header:
            request.headers["Authorization"] = header
        return header
