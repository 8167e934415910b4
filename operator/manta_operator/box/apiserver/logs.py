"""`GET pods/<name>/log`: what a container wrote, whole, its last lines, or as it comes.

The logs hold no times and are not cut: `timestamps`, `sinceSeconds`, `sinceTime` and `limitBytes` change nothing.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from manta_operator.box.apiserver.errors import bad_request
from manta_operator.box.apiserver.requests import flag, whole

_POLL_SECONDS = 0.2


class LogSource(Protocol):
    """Knows where the logs are: the kubelet."""

    def log_path(self, namespace: str, pod: str, container: str, previous: bool) -> Path | None:
        """Return the log of a container's current or previous run; None if there is none."""

    def log_grows(self, namespace: str, pod: str, container: str, path: Path) -> bool:
        """Whether the run that writes this log goes on."""


def _container(request: web.Request, pod: Mapping[str, Any]) -> str:
    spec = pod["spec"]
    names = [each["name"] for each in (*spec.get("initContainers", ()), *spec["containers"])]
    wanted = request.query.get("container") or ""
    if not wanted and len(spec["containers"]) == 1:
        wanted = spec["containers"][0]["name"]
    if not wanted:
        message = f"a container name must be specified for pod {pod['metadata']['name']}, choose one of: {names}"
        raise bad_request(message)
    if wanted not in names:
        raise bad_request(f"container {wanted} is not valid for pod {pod['metadata']['name']}: choose one of {names}")
    return str(wanted)


async def serve_log(request: web.Request, pod: Mapping[str, Any], logs: LogSource | None) -> web.StreamResponse:
    """Answer with a container's log, followed until its run ends; ApiError 400 if there is none yet."""
    container, meta = _container(request, pod), pod["metadata"]
    if not pod["spec"].get("nodeName"):
        return web.Response(status=204)  # as a real server: no kubelet can be asked yet
    previous = flag(request.query, "previous")
    path = logs.log_path(meta["namespace"], meta["name"], container, previous) if logs else None
    if logs is None or path is None or not path.exists():
        what = "previous terminated container" if previous else "container"
        raise bad_request(f'{what} "{container}" in pod "{meta["name"]}" has written no log yet')
    tail = whole(request.query, "tailLines")
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    with path.open("rb") as file:
        if tail is None:
            await response.write(file.read())
        else:
            await response.write(b"".join(deque(file, maxlen=tail)))
        while flag(request.query, "follow") and not previous:
            grows = logs.log_grows(meta["namespace"], meta["name"], container, path)  # asked before the last read
            more = file.read()
            if more:
                await response.write(more)
            if not grows:
                break
            await asyncio.sleep(_POLL_SECONDS)
    await response.write_eof()
    return response
