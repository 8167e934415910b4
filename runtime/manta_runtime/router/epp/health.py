"""The gRPC health service (`grpc.health.v1`) of the endpoint picker, as the protocol demands it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

SERVICE = "grpc.health.v1.Health"
_LOOK_SECONDS = 1.0
_ALIVE = "liveness"
# "" is the whole server; the last one is what the reference picker's probes ask.
_READY = ("", "readiness", "inference-extension")


def handler(ext_proc: str, ready: Callable[[], bool]) -> Any:
    """The service: `liveness` always serves, the others (`ext_proc` is one) while `ready()`."""
    health = _Health(ext_proc, ready)
    request, response = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
    codec = {"request_deserializer": request.FromString, "response_serializer": response.SerializeToString}
    check = grpc.unary_unary_rpc_method_handler(health.check, **codec)
    watch = grpc.unary_stream_rpc_method_handler(health.watch, **codec)
    return grpc.method_handlers_generic_handler(SERVICE, {"Check": check, "Watch": watch})


class _Health:
    def __init__(self, ext_proc: str, ready: Callable[[], bool]) -> None:
        self._by_readiness = frozenset((*_READY, ext_proc))
        self._ready = ready

    def _status(self, service: str) -> int:
        response = health_pb2.HealthCheckResponse
        if service != _ALIVE and service not in self._by_readiness:
            return int(response.SERVICE_UNKNOWN)
        return int(response.SERVING if service == _ALIVE or self._ready() else response.NOT_SERVING)

    async def check(self, request: Any, context: Any) -> Any:
        status = self._status(request.service)
        if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} here")
        return health_pb2.HealthCheckResponse(status=status)

    async def watch(self, request: Any, _: Any) -> AsyncIterator[Any]:
        last = -1
        while True:
            if (status := self._status(request.service)) != last:
                last = status
                yield health_pb2.HealthCheckResponse(status=status)
            await asyncio.sleep(_LOOK_SECONDS)
