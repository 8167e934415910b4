"""What the picker answers to Envoy's question about one request. Everything it needs is passed in; `run.py` wires it.

The question comes as `/pick<original path>` with the client's whole body. 200 with the destination header lets the
request through.
"""

import time
from collections.abc import Callable

import msgspec

from manta_runtime.router import openai_errors
from manta_runtime.router.config import RouterConfig
from manta_runtime.router.listener import DESTINATION_HEADER, PICK_PREFIX, REPLICA_HEADER
from manta_runtime.router.local_replies import BAD_REQUEST_STATUS, NO_REPLICA_STATUS
from manta_runtime.router.membership import Members
from manta_runtime.router.picker.core import POLICIES, choose
from manta_runtime.router.picker.http import Answer, Question
from manta_runtime.router.picker.ledger import Ledger
from manta_runtime.router.picker.metrics import Metrics

RETRY_AFTER_SECONDS = 2
_INVALID = "invalid_request_error"


class _Wanted(msgspec.Struct):
    """The one field of an OpenAI request the picker needs; msgspec skips the rest without building it."""

    model: str | None = None


_decoder = msgspec.json.Decoder(_Wanted)


class Picks:
    """Answers questions from the members and the ledger, and enters each pick in the ledger."""

    def __init__(
        self,
        config: RouterConfig,
        members: Members,
        ledger: Ledger,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._policy = POLICIES.get(config.policy, POLICIES["least-load"])
        self._members = members
        self._ledger = ledger
        self._metrics = metrics
        self._clock = clock

    def answer(self, question: Question) -> Answer:
        """The pick, or why there is none."""
        return self._refusal(question) or self._pick(question)

    def _refusal(self, question: Question) -> Answer | None:
        """What is wrong with the request itself; None if nothing that we can see."""
        if not question.body:
            if question.method == "POST" and not question.path.endswith("/cancel"):
                return self._bad("the request has no body; send JSON", "invalid_json")
            return None
        # Audio comes as multipart forms; the engine reads (and checks) the model name there.
        if question.headers.get(b"content-type", b"").lower().startswith(b"multipart/"):
            return None
        try:
            model = _decoder.decode(question.body).model
        except msgspec.ValidationError as error:
            return self._bad(f"the body must be a JSON object with a model name: {error}", "invalid_value")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return self._bad(f"the body is not JSON: {error}", "invalid_json")
        if model is not None and model not in self._config.served_names:
            return self._unknown(model)
        return None

    def _pick(self, question: Question) -> Answer:
        now = self._clock()
        chosen = choose(self._policy, self._ledger.candidates(self._members.usable, now))
        if chosen is None:
            return self._none_ready()
        request = question.headers.get(b"x-request-id", b"").decode("latin-1")
        self._ledger.picked(chosen.replica, request, now)
        self._metrics.picked(chosen.replica)
        return Answer(200, headers=((DESTINATION_HEADER, chosen.endpoint), (REPLICA_HEADER, chosen.replica)))

    def _none_ready(self) -> Answer:
        self._metrics.refused("no_replica")
        known = self._members.known
        text = f"model {self._config.served_names[0]!r}: 0 of {known} replicas ready; retry later"
        problem = openai_errors.body(text, kind="service_unavailable", code="no_ready_replica")
        return Answer(NO_REPLICA_STATUS, problem, (("retry-after", str(RETRY_AFTER_SECONDS)),))

    def _unknown(self, model: str) -> Answer:
        self._metrics.refused("unknown_model")
        served = ", ".join(self._config.served_names)
        text = f"the model {model[:200]!r} does not exist; served here: {served}"
        return Answer(404, openai_errors.body(text, kind=_INVALID, code="model_not_found", param="model"))

    def _bad(self, text: str, code: str) -> Answer:
        self._metrics.refused("bad_request")
        return Answer(BAD_REQUEST_STATUS, openai_errors.body(text, kind=_INVALID, code=code))


def is_pick(question: Question) -> bool:
    """Whether Envoy asks for a replica (everything else is a probe or Prometheus)."""
    return question.path.startswith(PICK_PREFIX + "/")
