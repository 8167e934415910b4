"""What the picker answers to Envoy's question about one request: a decision in the form of Envoy's ext_authz.

The question comes as `/pick<original path>` with the client's whole body. 200 with the destination header lets the
request through; other statuses are mapped in `local_replies.py`.
"""

import asyncio
from time import perf_counter

from manta_runtime.router.asking import (
    COUNT,
    DESTINATION_HEADER,
    EXPLAIN_HEADER,
    HIDE,
    PICK_PREFIX,
    REASON_HEADER,
    REPLICA_HEADER,
    TENANT_HEADER,
    USAGE_HEADER,
    WAY_HEADER,
)
from manta_runtime.router.local_replies import ANSWERED_STATUS, BAD_REQUEST_STATUS, NO_REPLICA_STATUS
from manta_runtime.router.picker.decide import Decider, Decision, Picked, Refused
from manta_runtime.router.picker.http import Answer, Question
from manta_runtime.router.picker.metrics import Metrics

_FOR_ENVOY = {400: BAD_REQUEST_STATUS, 503: NO_REPLICA_STATUS}
_PICK = PICK_PREFIX + "/"
# Beyond the list Envoy takes any replica. So many names last for all its tries: 6, and for each but the first it looks
# up to 5 times more for a replica not tried yet.
_NAMES = 31


class Picks:
    """Answers questions with the decider's decisions."""

    def __init__(self, decider: Decider, metrics: Metrics) -> None:
        self._decider = decider
        self._metrics = metrics

    def answer(self, question: Question) -> Answer | asyncio.Future[Answer]:
        """The decision in Envoy's form; a future while the request is held, whose cancelling ends the holding."""
        began = perf_counter()
        decision = self._decider.decide(question)
        found = _later(decision) if isinstance(decision, asyncio.Future) else encoded(decision)
        self._metrics.decided.observe(perf_counter() - began)
        return found


def is_pick(question: Question) -> bool:
    """Whether Envoy asks for a replica."""
    return question.path.startswith(_PICK)


def encoded(decision: Decision) -> Answer:
    """The answer that tells Envoy the decision."""
    if isinstance(decision, Picked):
        return _picked(decision)
    if isinstance(decision, Refused):
        headers = decision.headers
        if decision.retry_after:
            headers = (*headers, ("retry-after", str(decision.retry_after)))
        return Answer(_FOR_ENVOY.get(decision.status, decision.status), decision.body, headers)
    return Answer(ANSWERED_STATUS, decision.body, decision.headers, decision.content_type)


def _picked(picked: Picked) -> Answer:
    headers: tuple[tuple[str, str], ...] = (
        (DESTINATION_HEADER, ",".join(_only(picked.endpoints) if picked.alone else picked.endpoints)),
        (REPLICA_HEADER, picked.replica),
        (TENANT_HEADER, picked.tenant),
        (REASON_HEADER, picked.reason),
    )
    if picked.may_stream:
        headers += ((USAGE_HEADER, HIDE if picked.hide_usage else COUNT),)
    if picked.via_cache:
        headers += ((WAY_HEADER, "cache"),)
    if picked.explain:
        headers += ((EXPLAIN_HEADER, picked.explain),)
    return Answer(200, b"", headers)


def _only(endpoints: tuple[str, ...]) -> tuple[str, ...]:
    return endpoints * -(-_NAMES // len(endpoints))


def _later(decision: asyncio.Future[Decision]) -> asyncio.Future[Answer]:
    answer: asyncio.Future[Answer] = decision.get_loop().create_future()

    def decided(_: asyncio.Future[Decision]) -> None:
        if answer.done() or decision.cancelled():
            return
        answer.set_result(encoded(decision.result()))

    def left(_: asyncio.Future[Answer]) -> None:
        if answer.cancelled():
            decision.cancel()

    decision.add_done_callback(decided)
    answer.add_done_callback(left)
    return answer
