"""A plain asynchronous way to an API server, for tests and benchmarks that must not share code with what they test.

Paths go in, decoded JSON comes out; watches are iterated. Nothing is retried and nothing is cached.
"""

import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import yaml

Object = dict[str, Any]
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


class Refused(Exception):
    """An answer of 400 or more."""

    def __init__(self, code: int, body: Any) -> None:
        super().__init__(f"{code}: {body.get('message', body) if isinstance(body, dict) else body}")
        self.code = code
        self.body = body


class Api:
    """One API server, as a kubeconfig names it."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
        cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
        user = next(u["user"] for u in config["users"] if u["name"] == context["user"])
        self.url = cluster["server"].rstrip("/")
        self.tls = _tls(cluster, user)
        self.authorization = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        connector = aiohttp.TCPConnector(ssl=self.tls, limit=0)
        self._session = aiohttp.ClientSession(headers=self.authorization, timeout=timeout, connector=connector)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def raw(self, method: str, url: str, **more: Any) -> aiohttp.ClientResponse:
        """One request as it is, for a proxy; the answer is the caller's to read and release."""
        return await self._session.request(method, url, **more)

    async def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """One request; the decoded answer. Raises Refused."""
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, self.url + path, data=data, headers={"Content-Type": kind}) as answer:
            text = await answer.text()
            try:
                decoded = json.loads(text)
            except ValueError:
                decoded = text
            if answer.status >= 400:
                raise Refused(answer.status, decoded)
            return decoded

    async def get(self, path: str) -> Any:
        """Read; None where there is nothing."""
        try:
            return await self.call("GET", path)
        except Refused as refused:
            if refused.code == 404:
                return None
            raise

    async def items(self, path: str) -> list[Object]:
        """The items of a list."""
        return list((await self.call("GET", path)).get("items") or ())

    async def count(self, path: str) -> int:
        """How many objects a list has, without reading them."""
        page = await self.call("GET", f"{path}?limit=1")
        return len(page.get("items") or ()) + int(page["metadata"].get("remainingItemCount") or 0)

    async def merge(self, path: str, patch: Object) -> Any:
        """JSON merge patch."""
        return await self.call("PATCH", path, patch, MERGE)

    async def apply(self, path: str, body: Object, manager: str = "test") -> Any:
        """Server-side apply, conflicts won."""
        return await self.call("PATCH", f"{path}?fieldManager={manager}&force=true", body, APPLY)

    async def watch(self, path: str, query: str = "") -> AsyncIterator[Object]:
        """List, then follow for ever: each object as ADDED, then every change; from the start where it breaks."""
        while True:
            listed = await self.call("GET", f"{path}?{query}")
            for item in listed.get("items") or ():
                yield {"type": "ADDED", "object": item}
            version = listed["metadata"]["resourceVersion"]
            url = f"{self.url}{path}?watch=1&resourceVersion={version}&{query}"
            try:
                async with self._session.get(url) as answer:
                    buffer = b""
                    async for chunk in answer.content.iter_any():
                        *lines, buffer = (buffer + chunk).split(b"\n")
                        for line in lines:
                            event = json.loads(line)
                            if event["type"] == "ERROR":
                                break
                            yield event
            except aiohttp.ClientError:
                continue


def _tls(cluster: Object, user: Object) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
    if "certificate-authority-data" in cluster:
        context.load_verify_locations(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    if "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    elif "client-certificate-data" in user:
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(base64.b64decode(user["client-certificate-data"]) + b"\n")
            pair.write(base64.b64decode(user["client-key-data"]))
            pair.flush()
            context.load_cert_chain(pair.name)
    return context
