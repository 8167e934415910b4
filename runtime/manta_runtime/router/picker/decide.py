"""The decision about one request, for Envoy (`answers.py`) and for gateways (`epp/`) alike.

Who asks → may they → is the answer in the cache → a replica, if one has room and nobody waits → else the queue. Nothing
here waits: a held request's decision is a future, answered when an end, a look at an engine or a new replica makes
room, or its time is up.
"""

import asyncio
import logging
import math
from collections.abc import Iterable

import msgspec

from manta_runtime.router.asking import PICK_PREFIX
from manta_runtime.router.cache.response_cache import Destination, Hit, Miss
from manta_runtime.router.cache.rules import current_revision
from manta_runtime.router.picker import decision as decisions
from manta_runtime.router.picker.choice import Choice
from manta_runtime.router.picker.completions import End
from manta_runtime.router.picker.core import is_flooded
from manta_runtime.router.picker.decision import Answered, Decision, Picked, Refused
from manta_runtime.router.picker.holding import Asked, Holding
from manta_runtime.router.picker.http import Question
from manta_runtime.router.picker.ledger import Placed
from manta_runtime.router.picker.parts import Bill, Parts
from manta_runtime.router.picker.refusals import Refusals
from manta_runtime.router.picker.request import BadRequestError, Request, parse
from manta_runtime.router.picker.tenants import Tenant
from manta_runtime.router.picker.unsure import Unsure

__all__ = ["Answered", "Decider", "Decision", "Picked", "Refused"]

log = logging.getLogger(__name__)

_MODELS = "/v1/models"
_FORMS = "/v1/audio/"  # the engine reads these alone: only it knows which are streams
_PREFIX = len(PICK_PREFIX)
_FAILURE = 400


class Decider:
    """Decides questions and hears of ends; `members_changed`, `wake` and `tick` are to be called by the edges."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._ledger, self._chooser, self._access = parts.ledger, parts.chooser, parts.access
        self._metrics, self._cache, self._clock = parts.metrics, parts.cache, parts.clock
        self._demand = parts.demand
        self._session = parts.config.session_header.lower().encode()
        self._named = 1 + parts.config.retries if parts.config.mode == "inference-pool" else None  # None: all
        self._revision: str | None = None
        self.holding = Holding(parts.config.hold)
        self._refusals = Refusals(parts, self.holding)
        self._unsure = Unsure(
            parts.config.hold, self.holding, parts.access, self._start, self._refusals.counted, parts.waits
        )

    def decide(self, question: Question) -> Decision | asyncio.Future[Decision]:
        """The decision; a future for a held request: cancel it when its client leaves."""
        try:
            return self._decide(question)
        except Exception:
            log.exception("no decision for %s %s", question.method, question.path)
            return self._refusals.counted(decisions.failed())

    def _decide(self, question: Question) -> Decision | asyncio.Future[Decision]:
        now = self._clock()
        tenant = self._access.who(question.headers)
        if isinstance(tenant, Refused):
            return self._refusals.counted(tenant)
        path = question.path[_PREFIX:]
        if question.method == "GET" and path.startswith(_MODELS) and path[len(_MODELS) :][:1] in ("", "/"):
            return self._describe(path[len(_MODELS) + 1 :], tenant)
        headers = question.headers
        request_id = headers.get(b"x-request-id", b"").decode("latin-1")
        if request_id in self._ledger and (before := self._ledger.take(request_id)) is not None:
            self._access.taken_back(before.bill.charge, now)  # asked again: the answer to the first question got lost
            self._demand.left(request_id)
        refused = self._access.early(tenant, now) if tenant.limited else None
        if refused is not None:
            return self._refusals.counted(refused)
        content_type = headers.get(b"content-type", b"")
        session = headers.get(self._session, b"").decode("latin-1")
        try:
            request = parse(path, content_type, question.body, session, question.method)
        except BadRequestError as error:
            return self._refusals.counted(decisions.bad_request(error.text, error.code))
        refused = self._access.may(tenant, request, content_type, now)
        if refused is not None:
            if self._access.is_unsure(tenant, request):
                asked = Asked(request_id, tenant, request, now, question.subset, b"x-manta-explain" in headers, None)
                asked.size = len(question.body)
                return self._unsure.enter(asked)
            return self._refusals.counted(refused)
        return self._admit(question, request_id, tenant, request, now)

    def _admit(
        self, question: Question, request_id: str, tenant: Tenant, request: Request, now: float
    ) -> Decision | asyncio.Future[Decision]:
        miss: Miss | None = None
        if self._cache is not None:
            found = self._cache.ask(tenant.name, question, request, self._revision, now)
            if isinstance(found, Hit):
                self._access.ended(self._access.started(tenant, request, now), 0, now)
                return Answered(found.body, found.content_type, found.headers)
            miss = found
        asked = Asked(request_id, tenant, request, now, question.subset, b"x-manta-explain" in question.headers, miss)
        asked.size = len(question.body)
        return self._start(asked, now)

    def _start(self, asked: Asked, now: float) -> Decision | asyncio.Future[Decision]:
        asked.charge = self._access.started(asked.tenant, asked.request, now)
        self._demand.came(asked.request_id, asked.request.prompt_tokens)
        if not len(self.holding) and (choice := self._choose(asked, now)) is not None:
            return self._place(asked, choice, now)
        return self._hold(asked, now)

    @property
    def held(self) -> int:
        """How many wait, for whatever."""
        return len(self.holding) + len(self._unsure)

    def queue_age(self) -> float:
        """Seconds that the one held longest has waited."""
        since = min(self.holding.oldest(), self._unsure.oldest())
        return max(0.0, self._clock() - since) if since < math.inf else 0.0

    def models_told(self) -> None:
        """A replica has told its models."""
        self._unsure.news(self._clock())

    def _describe(self, model: str, tenant: Tenant) -> Decision:
        if not model:
            return Answered(self._parts.models.answer(tenant))
        body = self._parts.models.one(model, tenant)
        if body is None:
            return self._refusals.counted(decisions.unknown_model(model, self._parts.models.visible(tenant)))
        return Answered(body)

    def _choose(self, asked: Asked, now: float) -> Choice | None:
        """A replica that has room; None if there is none now."""
        candidates = self._ledger.candidates(now)
        if asked.subset is not None:
            candidates = [c for c in candidates if c.endpoint in asked.subset]
        choice = self._chooser.choose(asked.request, candidates, now)
        return None if choice is None or choice.candidate.saturated else choice

    def _place(self, asked: Asked, choice: Choice, now: float) -> Picked:
        request, candidate = asked.request, choice.candidate
        counted = self._chooser.commit(request, choice)
        ways = (candidate, *choice.fallbacks)[: self._named]
        endpoints = tuple([c.endpoint for c in ways])
        self._ledger.placed(
            asked.request_id,
            candidate.replica,
            now,
            tried=endpoints,
            work=choice.work,
            stream=request.stream,
            bill=Bill(asked.tenant.name, request, asked.charge, candidate.replica, counted),
        )
        self._metrics.picked(candidate.replica, choice.reason, request.prompt_tokens, choice.matched)
        if asked.miss is not None and self._cache is not None:
            destinations = [Destination(c.endpoint, c.revision) for c in ways]
            self._cache.expect(asked.miss, asked.request_id, destinations, now)
        return Picked(
            asked.request_id,
            asked.tenant.name,
            candidate.replica,
            endpoints,
            choice.reason,
            request.stream and not request.wants_usage,
            asked.miss is not None,
            self._explained(asked, choice, now) if asked.explain else "",
            request.stream or request.path.startswith(_FORMS),
            choice.alone,
        )

    def _explained(self, asked: Asked, choice: Choice, now: float) -> str:
        """Loads, matches and reasons tell what others ask: with keys a client learns only where its own went."""
        told = choice.explain()
        if not self._access.open:
            told = {name: told[name] for name in ("policy", "replica", "prompt_tokens")}
        told["held_ms"] = round((now - asked.at) * 1000)
        return msgspec.json.encode(told).decode("ascii", "replace")

    def _hold(self, asked: Asked, now: float) -> Decision | asyncio.Future[Decision]:
        self._parts.waits()
        # The protocol of gateways: none of the allowed endpoints may be picked → 503, now.
        allowed = self._allowed(asked)
        if not self.holding.seconds or not allowed:
            return self._refusals.turned_away(asked, self._refusals.none_free(0, now, allowed=allowed), now)
        entered, pushed = self.holding.enter(asked, now)
        if pushed is not None and pushed.item.future is not None and not pushed.item.future.done():
            share = pushed.priority == asked.tenant.priority
            answer = self._refusals.no_place("queue_share_exceeded" if share else "queue_full", now)
            pushed.item.future.set_result(self._refusals.turned_away(pushed.item, answer, now))
        if isinstance(entered, str):
            return self._refusals.turned_away(asked, self._refusals.no_place(entered, now), now)
        entered.add_done_callback(lambda future: self._left(asked) if future.cancelled() else None)
        return entered

    def _allowed(self, asked: Asked) -> bool:
        """Whether one at least of the replicas that a gateway allows may be picked."""
        return asked.subset is None or any(e.address in asked.subset for e in self._parts.members.usable)

    def _left(self, asked: Asked) -> None:
        self._metrics.left += 1
        self._demand.left(asked.request_id)
        self._access.ended(asked.charge, 0, self._clock())

    def wake(self) -> None:
        """Something may have made room: place those whose turn it is."""
        if not len(self.holding) or not self._ledger.room:
            return
        now = self._clock()
        while (asked := self.holding.head()) is not None and asked.future is not None:
            try:
                if not self._release(asked, asked.future, now):
                    return
            except Exception:
                log.exception("a held request cannot be placed")
                asked.future.set_result(self._refusals.turned_away(asked, decisions.failed(), now))

    def _release(self, asked: Asked, future: asyncio.Future[Decision], now: float) -> bool:
        """Place it, or turn it away; False if it has to go on waiting, and all others with it."""
        choice = self._choose(asked, now)
        if choice is None and asked.subset is not None and not self._allowed(asked):
            future.set_result(self._refusals.turned_away(asked, self._refusals.none_free(0, now, allowed=False), now))
            return True
        if choice is None or is_flooded(choice.candidate):
            return False
        self.holding.take(now)
        self._metrics.held.observe(now - asked.at)
        future.set_result(self._place(asked, choice, now))
        return True

    def tick(self) -> None:
        """Some time has passed (call it several times a second): refuse those whose time is up."""
        now = self._clock()
        for asked in self.holding.expired(now):
            if asked.future is not None and not asked.future.done():
                self._metrics.held.observe(now - asked.at)
                asked.future.set_result(
                    self._refusals.turned_away(asked, self._refusals.none_free(int(now - asked.at), now), now)
                )
        self.wake()
        self._unsure.news(now)

    def members_changed(self) -> None:
        """Replicas came, went, failed or are back."""
        members = self._parts.members
        self._ledger.follow(members.all, members.usable, members.ejected)
        self._revision = current_revision((e.revision, e.created) for e in members.usable)
        self.holding.serve(usable=bool(members.usable), now=self._clock())
        self.wake()

    def first_byte(self, request_id: str, upstream: str) -> None:
        """A gateway says that the answer begins, from ip:port `upstream` ("" unknown)."""
        self._ledger.first_byte(request_id, upstream)

    def ended(self, end: End) -> None:
        """A request is over."""
        now = self._clock()
        placed = self._ledger.ended(end, now)
        if placed is None:
            return
        tokens: int | None = None
        if end.prompt_tokens is not None:
            bill, completion = placed.bill, end.completion_tokens or 0
            # What a stream said of itself before its client left may be less than what it had sent by then.
            tokens = end.prompt_tokens + (max(completion, end.events or 0) if "DC" in end.flags else completion)
            self._metrics.used(bill.tenant, end.prompt_tokens, completion, end.cached_tokens or 0)
            self._demand.answered(bill.request.prompt_tokens, end.prompt_tokens, completion)
            self._chooser.learned(bill.request, end.prompt_tokens, completion)
            self._chooser.settled(bill.replica, bill.counted, end.prompt_tokens, placed.at)
        elif end.status is not None and (end.status >= _FAILURE or not end.status):
            tokens = 0 if end.status else None
            self._chooser.settled(placed.bill.replica, placed.bill.counted, 0, placed.at)
        self._settle(placed, tokens, now, end.events or 0)
        if end.attempts is not None and end.attempts > 1:
            self._metrics.retries += end.attempts - 1
        failed, doubtful = self._ledger.failed(placed, end)
        for replica in failed:
            self._parts.eject(replica)
        for replica in doubtful:
            self._parts.doubt(replica)
        self.wake()

    def lost(self, every: Iterable[Placed]) -> None:
        """These requests have ended, and nobody told us how: they cost what was estimated."""
        now = self._clock()
        for placed in every:
            self._settle(placed, None, now)
        self.wake()

    def _settle(self, placed: Placed | None, tokens: int | None, now: float, sent: int | None = None) -> None:
        if placed is not None:
            self._access.ended(placed.bill.charge, tokens, now, sent)
