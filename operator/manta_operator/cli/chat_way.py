"""The way from this terminal to a deployment's Service, chosen in this order.

    --url                                   there, without asking any cluster
    the cluster IP is a loopback address    straight to it: a box
    this process is a pod of the cluster    straight to the Service's name
    else                                    through the API server's service proxy

The service proxy needs no more than the kubeconfig and `create` on `services/proxy`, which the roles `edit` and
`admin` have, streams as tokens come, and passes the router like every other client. A port-forward would need a
second protocol and end at one pod.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from manta_operator.cli.chat_stream import BadAnswer, complaint
from manta_operator.cli.kubeconfig import Object, Target
from manta_operator.cli.picture import local_endpoint
from manta_operator.cli.rest import Api, CallFailed, path_of, words

CONNECT_SECONDS = 10.0


class Way(Protocol):
    """Sends one request to the OpenAI API and hands out the answer."""

    @property
    def title(self) -> str:
        """The way in words."""

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Return an async context manager of the response; BadAnswer or CallFailed where there is none."""


@dataclass(frozen=True)
class Straight:
    """To a URL that ends in /v1."""

    url: str

    @property
    def title(self) -> str:
        """The way in words."""
        return self.url

    @asynccontextmanager
    async def send(self, method: str, path: str, body: Any = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request to the OpenAI API. Raises BadAnswer."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
                session.request(method, f"{self.url}{path}", json=body) as response,
            ):
                if response.status >= 400:
                    raise BadAnswer(f"{self.url} answers {response.status}: {complaint(await response.read())}")
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise BadAnswer(f"{self.url} does not answer: {words(error)}") from error


@dataclass(frozen=True)
class Proxied:
    """Through the API server to a port of a Service."""

    api: Api
    namespace: str
    service: str
    port: int

    @property
    def title(self) -> str:
        """The way in words."""
        return f"Service {self.namespace}/{self.service}, through the API server"

    @asynccontextmanager
    async def send(self, method: str, path: str, body: Any = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request to the OpenAI API. Raises BadAnswer, or CallFailed with code None or 401."""
        whole = path_of("v1", "Service", self.namespace, f"{self.service}:{self.port}", f"proxy/v1{path}")
        try:
            async with self.api.stream(method, whole, body=body) as response:
                yield response
        except CallFailed as error:
            if error.code is None or error.code == 401:
                raise
            raise BadAnswer(self._words(error)) from error

    def _words(self, error: CallFailed) -> str:
        forward = (
            f"forward a port yourself, `kubectl port-forward -n {self.namespace} service/{self.service} "
            f"8000:{self.port}`, and use --url http://127.0.0.1:8000/v1"
        )
        if error.code == 403 and error.reason == "Forbidden":
            return f"{error.message}; ask for `create` on services/proxy, or {forward}"
        if error.reason == "ServiceUnavailable":
            return (
                f"the API server cannot reach the router: {error.message}; see `manta status {self.service}`, "
                f"and if the router is ready {forward}"
            )
        return f"the router answers {error.code}: {complaint(error.message.encode())}"


def choose(api: Api, target: Target, body: Object, service: Object | None) -> Way:
    """Choose the way to an LLMDeployment. Raises BadAnswer where there is no Service to go to."""
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    ports = ((service or {}).get("spec") or {}).get("ports") or ()
    if not ports:
        raise BadAnswer(f"there is no Service {namespace}/{name} yet; `manta status {name}` says why")
    if local := local_endpoint(service):
        return Straight(local)
    port = int(ports[0]["port"])
    if target.inside:
        return Straight(f"http://{name}.{namespace}.svc:{port}/v1")
    return Proxied(api, namespace, name, port)
