"""Serves the Endpoint Picker Protocol: grpc.aio on extProcPort (TLS) and on the port after it (plaintext).

One ext_proc stream is one HTTP request; `exchange.py` is what is said on it. Imported in mode inference-pool only:
grpc takes a while and 20 MB.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from manta_runtime.router.config import RouterConfig
from manta_runtime.router.epp import health
from manta_runtime.router.epp.certificate import credentials
from manta_runtime.router.epp.exchange import Decides, Exchange, Rules
from manta_runtime.router.epp.messages import ProcessingRequest

log = logging.getLogger(__name__)

SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"
_MESSAGE_MARGIN = 1 << 20
_GRACE_SECONDS = 1.0
# Gateways look at our health, or at the Service's endpoints, every few seconds.
_NOTICE_SECONDS = 5.0

Leave = Callable[[], Awaitable[None]]
"""To be awaited when the process is asked to end."""


@asynccontextmanager
async def serve(
    config: RouterConfig,
    pod_ip: str,
    decider: Decides,
    ready: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Leave]:
    """Serve while the context is open. OSError if a port is taken.

    Answers pass through us, so we cannot just go: `leave` waits until gateways have noticed, sends them elsewhere
    (GOAWAY), and returns when all answers have ended, held ones too, or the times for holding and draining are over.
    """
    server = _server(config, decider, ready, clock)
    host = f"[{pod_ip}]" if ":" in pod_ip else pod_ip
    names = (f"{config.deployment}-epp.{config.namespace}.svc", pod_ip)
    try:
        server.add_secure_port(f"{host}:{config.ext_proc_port}", credentials(names))
        server.add_insecure_port(f"{host}:{config.ext_proc_port + 1}")
    except RuntimeError as error:
        raise OSError(f"{host}:{config.ext_proc_port} or the port after it: {error}") from error
    await server.start()
    log.info("endpoint picker on %s:%d (TLS) and %d", host, config.ext_proc_port, config.ext_proc_port + 1)

    async def leave() -> None:
        log.info("ending: answering until the gateways have left")
        await asyncio.sleep(_NOTICE_SECONDS)
        await server.stop(config.hold.longest_seconds + config.drain_seconds)

    try:
        yield leave
    finally:
        await server.stop(_GRACE_SECONDS)


def _server(config: RouterConfig, decider: Decides, ready: Callable[[], bool], clock: Callable[[], float]) -> Any:
    limit = config.max_body_bytes + _MESSAGE_MARGIN
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            ("grpc.so_reuseport", 0),  # a second picker on the port is a mistake, not help
            ("grpc.http2.max_ping_strikes", 0),  # gateways ping as they like
        ]
    )
    rules = Rules(config.max_body_bytes, config.engine_port, config.hold.longest_seconds)
    server.add_generic_rpc_handlers((_Processor(decider, rules, clock).handler(), health.handler(SERVICE, ready)))
    return server


class _Processor:
    def __init__(self, decider: Decides, rules: Rules, clock: Callable[[], float]) -> None:
        self._decider = decider
        self._rules = rules
        self._clock = clock
        self._numbers = count(1)

    def handler(self) -> Any:
        process = grpc.stream_stream_rpc_method_handler(self.process, request_deserializer=_parse)
        return grpc.method_handlers_generic_handler(SERVICE, {"Process": process})

    async def process(self, _: Any, context: Any) -> None:
        exchange = Exchange(self._decider, self._rules, next(self._numbers), self._clock)
        try:
            while not exchange.done and (message := await context.read()) is not grpc.aio.EOF:
                for answer in await self._answers(exchange, message, context):
                    await context.write(answer)
        finally:
            exchange.gone()

    async def _answers(self, exchange: Exchange, message: Any, context: Any) -> list[bytes]:
        """What to write. A failure of ours is an answer, too: a stream that breaks tells nobody what happened."""
        if message is None:
            return exchange.failed("the gateway sent a message that is not of ext_proc v3")
        try:
            answers = exchange.receive(message)
            if exchange.held is None:
                return answers
            for answer in answers:
                await context.write(answer)
            return exchange.settle(await exchange.held)  # cancelled with us when the client goes away
        except Exception:
            log.exception("no answer on an ext_proc stream")
            return exchange.failed("the endpoint picker failed; its log says why")


def _parse(data: bytes) -> Any:
    try:
        return ProcessingRequest.FromString(data)
    except DecodeError:
        return None
