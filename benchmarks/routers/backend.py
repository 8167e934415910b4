"""Backends that cost almost nothing, for the routers to be measured with: they answer like an engine, without one.

Run as a process of its own: `python -m routers.backend PAUSE ADDRESS…`, each listening on port 8000. A request's body
with `"stream":true` gets CHUNKS events, one write each and PAUSE seconds apart, then the usage and [DONE]; any other
gets one JSON answer.
"""

import asyncio
import json
import resource
import sys
from typing import cast

import httptools
import uvloop

PORT = 8000
MODEL = "bench"
CHUNKS = 200
_USAGE = {"prompt_tokens": 250, "completion_tokens": CHUNKS, "total_tokens": 250 + CHUNKS}
_FRAME = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 0, "model": MODEL}


def _answer(status: str, kind: str, body: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


def _event(payload: bytes) -> bytes:
    data = b"data: " + payload + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def _whole() -> bytes:
    message = {"role": "assistant", "content": "word " * 40}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice]}
    # Manta's engines say this beside the usage in the body (manta_runtime/engine/usage_header.py).
    told = {"prompt": _USAGE["prompt_tokens"], "completion": _USAGE["completion_tokens"], "cached": 0}
    more = "".join(f"x-manta-{kind}-tokens: {count}\r\n" for kind, count in told.items())
    return _answer("200 OK", "application/json", json.dumps(body | {"usage": _USAGE}).encode(), more)


def _stream() -> tuple[bytes, ...]:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    token = {"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}
    chunk = _event(json.dumps(_FRAME | {"choices": [token]}).encode())
    usage = _event(json.dumps(_FRAME | {"choices": [], "usage": _USAGE}).encode())
    return (head, *([chunk] * CHUNKS), usage, _event(b"[DONE]") + b"0\r\n\r\n")


_WHOLE, _STREAM = _whole(), _stream()
_MODELS = _answer(
    "200 OK", "application/json", json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}).encode()
)
_METRICS = _answer(
    "200 OK",
    "text/plain",
    b'vllm:num_requests_running{model_name="bench"} 0.0\nvllm:num_requests_waiting{model_name="bench"} 0.0\n'
    b'vllm:kv_cache_usage_perc{model_name="bench"} 0.1\n'
    b'vllm:cache_config_info{block_size="16",num_gpu_blocks="20000"} 1.0\n',
)
_OK = _answer("200 OK", "application/json", b"{}")


class _Connection(asyncio.Protocol):
    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._body: list[bytes] = []
        self._url = b""
        self._writable = asyncio.Event()
        self._writable.set()
        self._streaming: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        if self._streaming is not None:
            self._streaming.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body, self._url = [], b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._url.startswith(b"/metrics"):
            self._transport.write(_METRICS)
        elif self._url.startswith(b"/v1/models"):
            self._transport.write(_MODELS)
        elif not self._body:
            self._transport.write(_OK)
        elif b'"stream":true' in (body := b"".join(self._body)) or b'"stream": true' in body:
            self._streaming = asyncio.create_task(self._stream())
        else:
            self._transport.write(_WHOLE)

    async def _stream(self) -> None:
        for piece in _STREAM:
            await self._writable.wait()
            self._transport.write(piece)
            await asyncio.sleep(self._pause)  # a write of its own for each token, as an engine does


async def _serve(pause: float, addresses: list[str]) -> None:
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: _Connection(pause), address, PORT, backlog=4096) for address in addresses
    ]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(_serve(float(sys.argv[1]), sys.argv[2:]))
