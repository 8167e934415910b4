"""Makes an answer that failed because the engine is dead one that the router tries on another replica.

ASGI middleware that vLLM itself loads (`--middleware`, `commands.py`). When its engine core dies, vLLM 0.32 answers
what was in flight with 500, and ends a moment later. To the router a 500 is the request's own fault and the client's to
know; 503 says that another replica may answer. Streams that have begun, and every other 500, pass untouched.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from manta_runtime.router.openai_errors import body

MIDDLEWARE = "manta_runtime.engine.dead_engine.DeadEngineAnswers"
"""For vLLM's --middleware."""

_FAILED, _RETRY = 500, 503
_BODY = body(
    "the engine of this replica has died and starts again; retry",
    kind="service_unavailable",
    code="engine_dead",
)
_OF_THE_BODY = (b"content-length", b"content-type", b"content-encoding")
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class DeadEngineAnswers:
    """The middleware."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass on what is no request; watch the answer of the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        one = _OneAnswer(scope, send)
        try:
            await self._app(scope, receive, one.send)
        except Exception:
            await one.fail()
            raise  # to vLLM's log


class _OneAnswer:
    """Sends on, or sends a 503 in the place of the whole answer."""

    def __init__(self, scope: MutableMapping[str, Any], send: Send) -> None:
        self._scope = scope
        self._send = send
        self._begun = self._replaced = False

    def send(self, message: Message) -> Awaitable[None]:
        """No coroutine of our own for the chunks of a stream."""
        if self._begun:
            return _nothing() if self._replaced else self._send(message)
        self._begun = message["type"] == "http.response.start"
        if self._begun and message["status"] == _FAILED and is_dead(self._scope):
            return self._replace(message.get("headers", ()))
        return self._send(message)

    async def fail(self) -> None:
        """Answer for an application that raised; who has no dead engine is answered by the server."""
        if not self._begun and is_dead(self._scope):
            await self._replace(())

    async def _replace(self, headers: Any) -> None:
        self._begun = self._replaced = True
        kept = [(name, value) for name, value in headers if name.lower() not in _OF_THE_BODY]
        await self._send({"type": "http.response.start", "status": _RETRY, "headers": [*kept, *_HEADERS]})
        await self._send({"type": "http.response.body", "body": _BODY})


def is_dead(scope: MutableMapping[str, Any]) -> bool:
    """Whether vLLM's client of the engine says that it can never answer again; not known: no."""
    client = getattr(getattr(scope.get("app"), "state", None), "engine_client", None)
    return getattr(client, "errored", False) is True


async def _nothing() -> None:
    pass
