"""One HTTP request on one ext_proc stream: the gateway's messages in, ours out. No I/O; `server.py` moves the messages.

    request headers, body  →  Decider  →  destination header and metadata, or an immediate response
    response headers, body →  passed on →  tokens, times and the end, told to the Decider

With a full-duplex body nothing is answered until the whole request is here: then headers, body and trailers in order.
With a buffered body the headers are waved through and the choice answers the body. Other modes cannot work (`_MODES`).
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from manta_runtime.router import openai_errors
from manta_runtime.router.asking import EXPLAIN_HEADER, PICK_PREFIX, REPLICA_HEADER
from manta_runtime.router.epp import messages, replies
from manta_runtime.router.epp.answer import PassingAnswer, amended
from manta_runtime.router.epp.metadata import headers_of, renamed, served, subset
from manta_runtime.router.picker.completions import End
from manta_runtime.router.picker.decision import Answered, Decision, Picked, Refused
from manta_runtime.router.picker.http import Question
from manta_runtime.router.routes import PATHS

_API = re.compile(PATHS)
_HOLD_MARGIN_SECONDS = 10
_WITH_USAGE_OPTION = frozenset(("/v1/chat/completions", "/v1/completions"))
_JSON = ("content-type", "application/json")
_MODES = "request_body_mode must be FULL_DUPLEX_STREAMED or BUFFERED: a replica is chosen by the whole request"


class Decides(Protocol):
    """What an exchange needs of the Decider."""

    def decide(self, question: Question) -> "Decision | asyncio.Future[Decision]":
        """The decision; a future while the request is held."""

    def first_byte(self, request_id: str, upstream: str) -> None:
        """Response headers came, from this endpoint ("": unknown)."""

    def ended(self, end: End) -> None:
        """The request is over."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is the same for all exchanges."""

    max_body: int
    engine_port: int
    hold_seconds: int


class Exchange:
    """`receive` every message; when `held` is set, wait for it and `settle`; `gone` at the end, however it comes.

    `done`: an immediate response was given, so the stream can be closed.
    """

    def __init__(self, decider: Decides, rules: Rules, number: int, clock: Callable[[], float]) -> None:
        self.held: asyncio.Future[Decision] | None = None
        self.done = False
        self._decider = decider
        self._rules = rules
        self._number = number
        self._clock = clock
        self._duplex = True
        self._answer_mode = messages.FULL_DUPLEX
        self._mode = messages.FULL_DUPLEX
        self._headers: dict[bytes, bytes] = {}
        self._subset: tuple[str, ...] | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._step = "request_headers"
        self._picked: Picked | None = None
        self._asked_at = clock()
        self._answer = PassingAnswer()
        self._upstream = ""
        self._ended = False

    def receive(self, message: Any) -> list[bytes]:
        """Our answers to a message of the gateway."""
        if message.HasField("protocol_config"):
            self._configure(message.protocol_config)
        if message.observability_mode:
            return []  # nobody listens, so nothing can be chosen
        step = message.WhichOneof("request")
        if step is None:
            return []
        answers: list[bytes] = getattr(self, f"_{step}")(message)
        return answers

    def settle(self, decision: Decision) -> list[bytes]:
        """Our answers, now that the decision is there."""
        self.held = None
        if isinstance(decision, Refused):
            retry = [("retry-after", str(decision.retry_after))] if decision.retry_after else []
            return self._immediate(decision.status, decision.body, [_JSON, *retry, *decision.headers], decision.code)
        if isinstance(decision, Answered):
            headers = [("content-type", decision.content_type), *decision.headers]
            return self._immediate(200, decision.body, headers, "answered")
        self._picked = decision
        hide = decision.hide_usage and self._path in _WITH_USAGE_OPTION and self._answer_mode != messages.NONE
        self._answer = PassingAnswer(hide)
        body = b"".join(self._chunks)
        changed = amended(body) if hide else body
        self._chunks = []
        return self._send_on(decision, changed, changed is not body)

    def failed(self, text: str) -> list[bytes]:
        """The answers to a failure of ours: the client is told, as far as nothing was sent to it yet."""
        return self._refuse(500, text, kind="server_error", code="picker_failed")

    def gone(self) -> None:
        """The stream is closed, by whomever."""
        if self.held is not None:
            self.held.cancel()
        unseen = self._answer_mode == messages.NONE and self._answer.first_byte_at is not None
        self._end("" if unseen else "DC")

    def _configure(self, config: Any) -> None:
        """Gateways that say nothing of modes are those that follow the protocol to the letter: full duplex."""
        self._mode = config.request_body_mode
        self._duplex = self._mode == messages.FULL_DUPLEX
        self._answer_mode = config.response_body_mode

    # ---- the request

    def _request_headers(self, message: Any) -> list[bytes]:
        self._headers = headers_of(message.request_headers.headers)
        self._subset = subset(message.metadata_context, self._rules.engine_port)
        if not _API.fullmatch(self._path):
            text = "no such endpoint; the OpenAI API is served under /v1"
            return self._refuse(404, text, kind="invalid_request_error", code="not_found")
        if message.request_headers.end_of_stream:
            return self._decide()
        if self._mode in (messages.NONE, messages.STREAMED):
            return self._refuse(500, f"the gateway is not configured for us: {_MODES}", code="gateway_misconfigured")
        return [] if self._duplex else [replies.GO_ON["request_headers"]]

    def _request_body(self, message: Any) -> list[bytes]:
        if self._picked is not None:
            return []
        chunk = message.request_body
        self._size += len(chunk.body)
        if self._size > self._rules.max_body:
            text = f"the request body is larger than {self._rules.max_body} bytes"
            return self._refuse(413, text, kind="invalid_request_error", code="body_too_large")
        self._chunks.append(chunk.body)
        self._step = "request_body"
        if self._duplex and not chunk.end_of_stream:
            return []
        return self._decide()

    def _request_trailers(self, _: Any) -> list[bytes]:
        if self._picked is not None or not self._duplex:
            return [replies.GO_ON["request_trailers"]]
        self._step = "request_trailers"
        return self._decide()

    def _decide(self) -> list[bytes]:
        body = renamed(b"".join(self._chunks), self._headers)
        if self._chunks:
            self._chunks = [body]
        # Clients choose x-request-id behind some gateways: ours is unique, and still shows theirs.
        own = b"%s#%d" % (self._headers.get(b"x-request-id", b"epp"), self._number)
        headers = {**self._headers, b"x-request-id": own}
        method = self._headers.get(b":method", b"POST").decode("latin-1")
        decision = self._decider.decide(Question(method, PICK_PREFIX + self._path, headers, body, self._subset))
        if not isinstance(decision, asyncio.Future):
            return self.settle(decision)
        self.held = decision
        return [] if self._duplex else [replies.wait_longer(self._rules.hold_seconds + _HOLD_MARGIN_SECONDS)]

    def _send_on(self, picked: Picked, body: bytes, changed: bool) -> list[bytes]:
        if self._step == "request_headers":
            return [replies.picked("request_headers", picked.endpoints)]
        if not self._duplex:
            return [replies.picked("request_body", picked.endpoints, body if changed or self._renames else None)]
        answers = [replies.picked("request_headers", picked.endpoints)]
        trailers = self._step == "request_trailers"
        if body or not trailers:
            answers += replies.streamed("request_body", body, end=not trailers)
        return [*answers, replies.GO_ON["request_trailers"]] if trailers else answers

    # ---- the response

    def _response_headers(self, message: Any) -> list[bytes]:
        self._answer.start(headers_of(message.response_headers.headers), self._clock())
        if self._picked is None:
            return [replies.GO_ON["response_headers"]]
        self._upstream = served(message.metadata_context)
        self._decider.first_byte(self._picked.request_id, self._upstream)
        if message.response_headers.end_of_stream:
            self._end("")
        extra = [(REPLICA_HEADER, self._picked.replica)]
        if self._picked.explain:
            extra.append((EXPLAIN_HEADER, self._picked.explain))
        return [replies.response_headers(extra)]

    def _response_body(self, message: Any) -> list[bytes]:
        chunk = message.response_body
        # A buffered body is whole even where trailers follow, which we may never hear of.
        end = chunk.end_of_stream or self._answer_mode == messages.BUFFERED
        passed = self._answer.feed(chunk.body, end, self._clock())
        if end:
            self._end("UF" if self._answer.never_connected else "")
        if self._answer_mode == messages.FULL_DUPLEX:
            return replies.streamed("response_body", passed, chunk.end_of_stream)
        unchanged = passed is chunk.body or passed == chunk.body
        return [replies.GO_ON["response_body"] if unchanged else replies.replaced("response_body", passed)]

    def _response_trailers(self, _: Any) -> list[bytes]:
        rest = self._answer.feed(b"", True, self._clock())
        self._end("")
        duplex = self._answer_mode == messages.FULL_DUPLEX
        before = replies.streamed("response_body", rest, end=False) if rest and duplex else []
        return [*before, replies.GO_ON["response_trailers"]]

    def _end(self, flags: str) -> None:
        if self._picked is None or self._ended:
            return
        self._ended = True
        answer, start = self._answer, self._asked_at
        tokens = answer.tokens()
        # One that we have not named was the gateway's own choice, after those failed.
        tried = (*self._picked.endpoints, self._upstream)
        self._decider.ended(
            End(
                id=self._picked.request_id,
                flags=flags,
                status=answer.status or None,
                upstream=self._upstream,
                attempts=tried.index(self._upstream) + 1 if self._upstream else 1,
                first_byte_ms=_ms(answer.first_byte_at, start),
                first_data_ms=_ms(answer.first_data_at, answer.first_byte_at) if answer.streams else None,
                duration_ms=_ms(self._clock(), start),
                prompt_tokens=tokens.prompt,
                completion_tokens=tokens.completion,
                cached_tokens=tokens.cached,
                bytes=answer.bytes,
                events=answer.events,
            )
        )

    # ---- helpers

    @property
    def _path(self) -> str:
        return self._headers.get(b":path", b"").decode("latin-1").partition("?")[0]

    @property
    def _renames(self) -> bool:
        return b"x-gateway-model-name-rewrite" in self._headers

    def _refuse(self, status: int, text: str, *, code: str, kind: str = "server_error") -> list[bytes]:
        return self._immediate(status, openai_errors.body(text, kind=kind, code=code), [_JSON], code)

    def _immediate(self, status: int, body: bytes, headers: list[tuple[str, str]], code: str) -> list[bytes]:
        self.done = True
        return [replies.immediate(status, body, headers, f"manta_{code}")]


def _ms(at: float | None, start: float | None) -> int | None:
    return None if at is None or start is None else round((at - start) * 1000)
