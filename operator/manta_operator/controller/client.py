"""The operator's only way to the API server: plain dicts in and out, every failure a ClusterError."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import json

from manta_operator.api import names
from manta_operator.controller import metrics
from manta_operator.controller.credentials import Credentials
from manta_operator.controller.discovery import Discovery
from manta_operator.controller.errors import ClusterError, Conflict, Missing, classify
from manta_operator.controller.probes import progress

Object = dict[str, Any]
TIMEOUT_SECONDS = 30.0
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 90.0
"""A watch that says nothing for so long is dead: bookmarks come every minute."""
PAGE = 500
_APPLY = {"Content-Type": "application/apply-patch+yaml"}
_MERGE = {"Content-Type": "application/merge-patch+json"}
_TABLE = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
_TIMEOUT = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, sock_connect=CONNECT_SECONDS)
_ENDLESS = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)


class KubeClient:
    """Reads, applies and deletes objects of any kind, named by apiVersion and kind."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session, self._server = session, server
        self._discovery = Discovery(self._discover)

    async def serves(self, api_version: str, kind: str) -> bool:
        """Say whether the API server has this kind. Raises ClusterError: it does not answer."""
        try:
            await self._discovery.find(api_version, kind)
        except Missing:
            return False
        return True

    async def get(self, api_version: str, kind: str, namespace: str | None, name: str) -> Object | None:
        """Read one object; None if there is none. Raises ClusterError."""
        what = f"get {kind} {_place(namespace, name)}"
        try:
            path = await self._path(api_version, kind, namespace, name, what=what)
            return await self._request("GET", path, what, ("get", kind))
        except Missing:
            return None

    async def list(
        self, api_version: str, kind: str, namespace: str | None = None, selector: str | None = None
    ) -> list[Object]:
        """List the objects of a kind, in one namespace or in all, by label selector. Raises ClusterError."""
        return [item async for items, _ in self.pages(api_version, kind, namespace, selector) for item in items]

    async def pages(
        self, api_version: str, kind: str, namespace: str | None = None, selector: str | None = None
    ) -> AsyncIterator[tuple[Sequence[Object], str]]:
        """Yield the objects a page at a time, each with the resourceVersion of the whole list. Raises ClusterError."""
        path = await self._path(api_version, kind, namespace, what=f"list {kind}")
        what = f"list {_collection(path, namespace)}"
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._request("GET", path, what, ("list", kind), query=query)
            kinds = {"apiVersion": api_version, "kind": kind}
            yield [kinds | item for item in page.get("items") or ()], page["metadata"]["resourceVersion"]
            query["continue"] = page["metadata"].get("continue") or ""
            if not query["continue"]:
                return

    async def names_of(self, api_version: str, kind: str, namespace: str, selector: str) -> frozenset[str]:
        """Return only the names, asked for a page at a time and without the objects: cheap. Raises ClusterError."""
        path = await self._path(api_version, kind, namespace, what=f"list {kind}")
        what = f"list the names of {_collection(path, namespace)}"
        query = {"labelSelector": selector, "limit": str(PAGE), "includeObject": "None"}
        found: set[str] = set()
        while True:
            table = await self._request("GET", path, what, ("list", kind), query=query, headers=_TABLE)
            column = next(at for at, each in enumerate(table["columnDefinitions"]) if each["format"] == "name")
            found.update(row["cells"][column] for row in table.get("rows") or ())
            query["continue"] = table["metadata"].get("continue") or ""
            if not query["continue"]:
                return frozenset(found)

    async def watch(
        self, api_version: str, kind: str, namespace: str | None, selector: str, version: str,
        opened: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[Object]:  # fmt: skip
        """Yield the events since `version` until the API server ends the stream; call `opened` when it begins.

        Raises:
            ClusterError: it was refused or broke off; Expired where `version` is too old.
        """
        path = await self._path(api_version, kind, namespace, what=f"watch {kind}")
        what = f"watch {_collection(path, namespace)}"
        query = {"watch": "true", "allowWatchBookmarks": "true", "labelSelector": selector, "resourceVersion": version}
        try:
            async with self._session.get(self._server + path, params=query, timeout=_ENDLESS) as answer:
                metrics.requested("watch", kind, answer.status)
                if answer.status >= 400:
                    raise _refused(answer, await answer.read(), what)
                opened()
                async for line in _lines(answer.content):
                    event: Object = json.decode(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise classify(status.get("code"), str(status.get("message")), what)
                    yield event
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise classify(None, str(error) or type(error).__name__, what) from error

    async def apply(
        self, obj: Object, subresource: str | None = None, manager: str = names.FIELD_MANAGER, *, force: bool = True
    ) -> Object:
        """Server-side apply.

        Args:
            obj: What `manager` wants; fields it applied before and no longer names are removed.
            subresource: "status", or the object itself.
            manager: The field manager: the operator's own, unless a person applies through the command line.
            force: Win conflicts, since every field we send is ours. Without it they raise Conflict.

        Raises:
            ClusterError: the API server refused or did not answer.
        """
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._write("PATCH", obj, f"apply {_named(obj)}", query=query, headers=_APPLY, sub=subresource)

    async def merge(self, obj: Object) -> Object:
        """Merge-patch an object of ours, lists replaced whole: what apply cannot repair. Raises ClusterError."""
        query = {"fieldManager": names.FIELD_MANAGER}
        return await self._write("PATCH", obj, f"repair {_named(obj)}", query=query, headers=_MERGE)

    async def create(self, obj: Object) -> bool:
        """Create an object; return False if one of that name exists already. Raises ClusterError."""
        what, namespace = f"create {_named(obj)}", obj["metadata"].get("namespace")
        path = await self._path(obj["apiVersion"], obj["kind"], namespace, what=what)
        try:
            await self._request("POST", path, what, ("create", obj["kind"]), body=obj)
        except Conflict:
            return False
        return True

    async def delete(self, api_version: str, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete the object with this uid and its dependents; gone already is fine. Raises ClusterError."""
        what = f"delete {kind} {namespace}/{name}"
        path = await self._path(api_version, kind, namespace, name, what=what)
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._request("DELETE", path, what, ("delete", kind), body=options)
        except Missing:
            return
        except Conflict:  # another object has taken the name: the one that was meant is gone
            return

    async def logs(self, namespace: str, pod: str, container: str, *, tail: int, follow: bool) -> AsyncIterator[str]:
        """Yield the last `tail` lines of a container's log, and with `follow` those that come. Raises ClusterError."""
        what = f"read the log of {namespace}/{pod}, container {container}"
        query = {"container": container, "tailLines": str(tail), "follow": "true" if follow else "false"}
        url = f"{self._server}/api/v1/namespaces/{namespace}/pods/{pod}/log"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        try:
            async with self._session.get(url, params=query, timeout=timeout) as answer:
                if answer.status >= 400:
                    raise _refused(answer, await answer.read(), what)
                async for line in _lines(answer.content):
                    yield line.decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise classify(None, str(error) or type(error).__name__, what) from error

    async def _discover(self, path: str) -> Object:
        return await self._request("GET", path, f"discover {path}", ("get", "APIResourceList"))

    async def _write(
        self, method: str, obj: Object, what: str, *, query: dict[str, str], headers: dict[str, str],
        sub: str | None = None,
    ) -> Object:  # fmt: skip
        metadata, kind = obj["metadata"], obj["kind"]
        path = await self._path(obj["apiVersion"], kind, metadata.get("namespace"), metadata["name"], sub, what=what)
        return await self._request(method, path, what, ("patch", kind), query=query, headers=headers, body=obj)

    async def _path(
        self, api_version: str, kind: str, namespace: str | None, name: str | None = None, sub: str | None = None,
        *, what: str,
    ) -> str:  # fmt: skip
        try:
            return (await self._discovery.find(api_version, kind)).path(namespace, name, sub)
        except Missing as error:
            raise Missing(f"{what}: {error.message}") from error

    async def _request(
        self,
        method: str,
        path: str,
        what: str,
        counted: tuple[str, str],
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: Object | None = None,
    ) -> Object:
        data = None if body is None else json.encode(body)
        sent = {"Content-Type": "application/json"} | (headers or {}) if data is not None else headers
        try:
            async with self._session.request(
                method, self._server + path, params=query, data=data, headers=sent, timeout=_TIMEOUT
            ) as answer:
                text = await answer.read()
                metrics.requested(*counted, answer.status)
                if answer.status >= 400:
                    raise _refused(answer, text, what)
                result: Object = json.decode(text)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            metrics.requested(*counted, None)
            raise classify(None, str(error) or type(error).__name__, what) from error
        finally:
            progress.answered()
        return result


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield lines of any length: aiohttp's own iteration gives up at the size of its buffer."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
    if rest:
        yield rest


def _refused(answer: aiohttp.ClientResponse, text: bytes, what: str) -> ClusterError:
    try:
        message = str(json.decode(text)["message"])
    except (TypeError, ValueError, KeyError):
        message = text.decode("utf-8", "replace").strip()[:300] or str(answer.reason)
    try:
        retry_after = float(answer.headers["Retry-After"])
    except (KeyError, ValueError):
        retry_after = None
    return classify(answer.status, message, what, retry_after)


def _collection(path: str, namespace: str | None) -> str:
    """Say it as RBAC and kubectl do, in the plural."""
    return f"{path.rpartition('/')[2]} in {namespace or 'all namespaces'}"


def _place(namespace: str | None, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def _named(obj: Object) -> str:
    return f"{obj['kind']} {_place(obj['metadata'].get('namespace'), obj['metadata']['name'])}"


@asynccontextmanager
async def connect(
    scratch: Path | None = None, kubeconfig: Path | None = None, context: str | None = None
) -> AsyncIterator[KubeClient]:
    """Connect with a kubeconfig, by default KUBECONFIG, or inside a pod with its ServiceAccount.

    Args:
        scratch: Folder for certificates that the kubeconfig holds; None for the system's temporary folder.
        kubeconfig: File to use; None for what the environment offers.
        context: Context of the kubeconfig; None for its current one.

    Raises:
        kubernetes.aio.config.ConfigException: there are no credentials.
    """
    credentials = Credentials(kubeconfig, context, scratch)
    await credentials.load()
    async with credentials.session() as session:
        yield KubeClient(session, credentials.server)
        await asyncio.sleep(0)  # lets the connections of streams that were left close
