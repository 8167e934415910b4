"""Doing what a probe or a lifecycle hook says: an HTTP request, a TCP connection, a command.

`probes.py` decides what the outcome means, `container.py` runs the hooks.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from manta_operator.box.kubelet.config import StartError
from manta_operator.box.kubelet.process import Launch, run_to_end

_BODY_SHOWN = 200
_KINDS = ("httpGet", "tcpSocket", "exec", "sleep")


@dataclass(frozen=True)
class Target:
    """The container a handler acts on. `exec_launch` makes its command a process of that container."""

    address: str
    ports: Mapping[str, int]
    http: aiohttp.ClientSession
    exec_launch: Callable[[Sequence[str]], Launch]
    second: float = 1.0


def check_handler(where: str, handler: Mapping[str, Any]) -> None:
    """StartError for a handler that the box cannot do."""
    if not any(kind in handler for kind in _KINDS):
        what = "grpc" if "grpc" in handler else "this kind of handler"
        message = f"{where}: {what} is not supported by the box: use httpGet, tcpSocket or exec"
        raise StartError("CreateContainerConfigError", message)


async def perform(handler: Mapping[str, Any], target: Target, timeout: float) -> str:  # noqa: ASYNC109
    """Do it once, within `timeout` seconds. Returns "" on success, else what went wrong."""
    if "httpGet" in handler:
        return await _http_get(handler["httpGet"], target, timeout)
    if "tcpSocket" in handler:
        return await _tcp(handler["tcpSocket"], target, timeout)
    if "exec" in handler:
        return await _exec(handler["exec"].get("command") or [], target, timeout)
    await asyncio.sleep(min(float(handler["sleep"]["seconds"]) * target.second, timeout))
    return ""


def _port(wanted: int | str, target: Target) -> int | None:
    return wanted if isinstance(wanted, int) else target.ports.get(wanted)


async def _http_get(get: Mapping[str, Any], target: Target, seconds: float) -> str:
    port = _port(get["port"], target)
    if port is None:
        return f"HTTP probe failed: the container has no port named {get['port']!r}"
    scheme = str(get.get("scheme") or "HTTP").lower()
    path = "/" + str(get.get("path") or "/").lstrip("/")
    url = f"{scheme}://{get.get('host') or target.address}:{port}{path}"
    headers = {item["name"]: item["value"] for item in get.get("httpHeaders") or ()}
    try:
        async with target.http.get(
            url,
            headers={"User-Agent": "kube-probe/1.37", **headers},
            timeout=aiohttp.ClientTimeout(total=seconds),
            allow_redirects=False,
            ssl=False,
        ) as answer:
            if 200 <= answer.status < 400:
                return ""
            body = (await answer.content.read(_BODY_SHOWN)).decode(errors="replace").strip()
            return f"HTTP probe failed with statuscode: {answer.status}" + (f": {body}" if body else "")
    except TimeoutError:
        return f"Get {url!r}: no answer within {seconds:g} s"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return f"Get {url!r}: {error}"


async def _tcp(tcp: Mapping[str, Any], target: Target, seconds: float) -> str:
    port, host = _port(tcp["port"], target), tcp.get("host") or target.address
    if port is None:
        return f"the container has no port named {tcp['port']!r}"
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    except TimeoutError:
        return f"dial tcp {host}:{port}: no connection within {seconds:g} s"
    except OSError as error:
        return f"dial tcp {host}:{port}: {error.strerror or error}"
    return ""


async def _exec(command: Sequence[str], target: Target, seconds: float) -> str:
    launch = target.exec_launch(command)
    try:
        code = await run_to_end(launch, seconds)
        if code == 0:
            return ""
        output = launch.output.read_bytes()[:_BODY_SHOWN].decode(errors="replace").strip()
        if code is None:
            return f"command {' '.join(command)!r} timed out after {seconds:g} s: {output}"
        return f"command {' '.join(command)!r} exited with {code}: {output}"
    except OSError as error:
        return f"command {' '.join(command)!r} could not start: {error.strerror}"
    finally:
        launch.output.unlink(missing_ok=True)
