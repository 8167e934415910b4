"""Watches over HTTP: replays what a client missed, then streams changes as JSON lines, with bookmarks."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from manta_operator.box.apiserver.errors import status_of
from manta_operator.box.apiserver.operations import Operations, table_of
from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.apiserver.selectors import Matches
from manta_operator.box.apiserver.store import Change
from manta_operator.box.cluster import ApiError

Render = Callable[[Mapping[str, Any]], Mapping[str, Any]]
_BOOKMARK_SECONDS = 30.0
_LONGEST_SECONDS = 3600.0


@dataclass(frozen=True)
class WatchRequest:
    """What a client wants to see."""

    resource: Resource
    namespace: str | None
    matches: Matches
    version: int | None
    """Changes after this one; None: everything there is, first."""
    initial_bookmark: bool
    bookmarks: bool
    seconds: float | None
    render: Render


def seen_as(change: Change, matches: Matches) -> str | None:
    """Return what a change looks like to one who sees only what matches; None if like nothing."""
    before = change.before is not None and matches(change.before)
    after = change.type != "DELETED" and matches(change.object)
    if after:
        return "MODIFIED" if before else "ADDED"
    return "DELETED" if before else None


async def serve(operations: Operations, wanted: WatchRequest, request: web.Request) -> web.StreamResponse:
    """Answer a watch until the client leaves, its time is over or the server stops."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    subscription = operations.store.subscribe(frozenset({table_of(wanted.resource)}))
    stream = _Stream(response, wanted, operations)
    try:
        await response.prepare(request)
        await stream.replay()
        end = time.monotonic() + min(wanted.seconds or _LONGEST_SECONDS, _LONGEST_SECONDS)
        while (left := end - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left, _BOOKMARK_SECONDS)):
                    change = await subscription.queue.get()
            except TimeoutError:
                await stream.bookmark()
                continue
            if change is None:
                break
            await stream.change(change)
        await stream.bookmark()
    except (ConnectionError, RuntimeError):
        pass  # the client left
    finally:
        subscription.close()
        with contextlib.suppress(ConnectionError, RuntimeError):
            await response.write_eof()
    return response


class _Stream:
    def __init__(self, response: web.StreamResponse, wanted: WatchRequest, operations: Operations) -> None:
        self._response, self._wanted, self._operations = response, wanted, operations
        self._sent = 0

    async def replay(self) -> None:
        store, wanted = self._operations.store, self._wanted
        if wanted.version is None:
            self._sent = store.version
            for _, obj in list(store.objects(table_of(wanted.resource), wanted.namespace)):
                if wanted.matches(obj):
                    await self._send("ADDED", wanted.render(self._operations.as_version(wanted.resource, obj)))
            if wanted.initial_bookmark:
                await self._bookmark({"k8s.io/initial-events-end": "true"})
            return
        try:
            missed = store.since(wanted.version, frozenset({table_of(wanted.resource)}))
        except ApiError as error:
            await self._send("ERROR", status_of(error))
            raise ConnectionResetError from error
        for change in missed:
            await self.change(change)

    async def change(self, change: Change) -> None:
        if change.version <= self._sent:
            return
        self._sent = change.version
        space = change.object["metadata"].get("namespace")
        if self._wanted.namespace is not None and space != self._wanted.namespace:
            return
        kind = seen_as(change, self._wanted.matches)
        if kind is not None:
            obj = self._operations.as_version(self._wanted.resource, change.object)
            await self._send(kind, self._wanted.render(obj))

    async def bookmark(self) -> None:
        if self._wanted.bookmarks:
            await self._bookmark({})

    async def _bookmark(self, annotations: dict[str, str]) -> None:
        resource = self._wanted.resource
        meta: dict[str, Any] = {"resourceVersion": str(max(self._sent, 1)), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        await self._send("BOOKMARK", {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta})

    async def _send(self, kind: str, obj: Mapping[str, Any]) -> None:
        await self._response.write(json.dumps({"type": kind, "object": obj}, separators=(",", ":")).encode() + b"\n")
