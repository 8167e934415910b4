"""What each replica has in flight and what its engine can take: counted here, corrected by what the engines say.

Requests are entered when placed, moved to the replica that served them, and taken out when Envoy's access log reports
their end. Once a second `observe` compares with the engine's own count: more than ours means other routers' requests,
less means requests that are elsewhere by now: retried on another replica, or on their way to a slow reader. Those are
load no more, but they are known until their end. No clock: callers pass `now`.

The prefill work of a prompt (tokens, see `ttft.py`) counts as pending at its replica until it should be done, at the
rate learned from streams: (work ahead + own) / time to the first data. Before a rate is known it counts for
`UNKNOWN_RATE_SECONDS`.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from typing import Any

from manta_runtime.router.membership import Endpoint
from manta_runtime.router.picker import saturation
from manta_runtime.router.picker.accounts import Account, Placed
from manta_runtime.router.picker.completions import End, failed_of
from manta_runtime.router.picker.core import Candidate
from manta_runtime.router.picker.saturation import UNKNOWN
from manta_runtime.router.picker.scrape import Look

__all__ = ["Ledger", "Placed"]

# A request this old must show in the engine's own count.
SETTLED_SECONDS = 5.0
UNKNOWN_RATE_SECONDS = 1.0
_PENDING_SECONDS = 60.0  # at most
_SAMPLE_TOKENS = 512  # less work says more of overheads than of the rate
_WEIGHT = 0.2  # of the newest sample
_FAILURE = 400
_UNEVENTFUL = ("", "-")  # no response flags


class Ledger:
    """Accounts by replica name. `max_num_seqs` of one engine core, None if not told; no request takes `longest` s."""

    def __init__(self, max_num_seqs: int | None = None, longest: float = math.inf) -> None:
        self._max_num_seqs = max_num_seqs or 0
        self._longest = longest
        self._accounts: dict[str, Account] = {}
        self._open: dict[str, Placed] = {}
        self._names: dict[str, str] = {}  # address → replica, of all that exist
        self._endpoints: tuple[Endpoint, ...] = ()
        self._ejected: frozenset[str] = frozenset()
        self._candidates: list[Candidate] = []
        self._changes: list[Account] = []
        self._due: list[tuple[float, str]] = []  # when which request's prompt should be computed
        self._picks = 0
        self._rate = 0.0

    def follow(self, every: Iterable[Endpoint], usable: Sequence[Endpoint], ejected: frozenset[str]) -> None:
        """These replicas exist, these may be picked, and these of them failed a moment ago."""
        self._names = {endpoint.address: endpoint.name for endpoint in every}
        self._endpoints, self._ejected = tuple(usable), ejected
        for account in self._accounts.values():
            account.place = -1
        self._refresh()
        self._candidates = []
        for place, endpoint in enumerate(self._endpoints):
            if endpoint.name not in self._accounts:
                self._accounts[endpoint.name] = Account(endpoint.name)
                self._judge(self._accounts[endpoint.name])
            account = self._accounts[endpoint.name]
            account.place = place
            self._candidates.append(self._candidate(account))

    def candidates(self, now: float) -> Sequence[Candidate]:
        """The usable replicas as they are now; read only, and changed by the next call of anything here."""
        due = self._due
        while due and due[0][0] <= now:
            placed = self._open.get(heapq.heappop(due)[1])
            if placed is not None:
                self._computed(placed)
        if self._changes:
            self._refresh()
        return self._candidates

    @property
    def room(self) -> bool:
        """Whether some usable replica is not saturated."""
        self._refresh()
        return not all(candidate.saturated for candidate in self._candidates)

    @property
    def open(self) -> int:
        """Our own requests in flight, those at replicas that are gone included."""
        return len(self._open)

    def __contains__(self, request: str) -> bool:
        return request in self._open

    def placed(
        self,
        request: str,
        replica: str,
        now: float,
        *,
        tried: tuple[str, ...] = (),
        work: int = 0,
        stream: bool = False,
        bill: Any = None,
    ) -> None:
        """A request goes to `replica` now, which has to do `work` tokens of prefill work for it."""
        account = self._accounts[replica]
        self._picks += 1
        account.last_pick = self._picks
        if request:
            if request in self._open:
                self._take_out(request)
            placed = Placed(request, replica, now, tried, work, account.pending, stream, bill, work > 0)
            self._open[request] = account.open[request] = placed
            if work > 0:
                account.pending += work
                rate = account.rate or self._rate
                seconds = account.pending / rate if rate else UNKNOWN_RATE_SECONDS
                heapq.heappush(self._due, (now + min(seconds, _PENDING_SECONDS), request))
        self._changed(account)

    def first_byte(self, request: str, upstream: str) -> None:
        """The answer begins, from `upstream` (ip:port; "" unknown): its prompt is computed."""
        placed = self._open.get(request)
        if placed is None:
            return
        self._computed(placed)
        if placed.replica != (served := self._names.get(upstream, placed.replica)) and served in self._accounts:
            self._leave(placed)
            placed.replica = served
            account = self._accounts[served]
            account.open[request] = placed
            self._changed(account)

    def take(self, request: str) -> Placed | None:
        """The request is over, nobody knows how; None if we did not know of it."""
        return self._take_out(request)

    def ended(self, end: End, now: float) -> Placed | None:
        """Envoy says the request is over; None if we did not know of it."""
        placed = self._open.get(end.id)
        if placed is None:
            return None
        if self._names.get(end.upstream, placed.replica) != placed.replica:
            self.first_byte(end.id, end.upstream)
        self._take_out(end.id)
        if (account := self._accounts.get(placed.replica)) is not None:
            account.ends += 1
            self._learn(account, placed, end, now)
        return placed

    def failed(self, placed: Placed, end: End) -> tuple[Sequence[str], Sequence[str]]:
        """The replicas whose connections failed while it was tried, and those of which they may have; `failed_of`."""
        if end.flags in _UNEVENTFUL and (end.attempts or 1) == 1:
            return (), ()
        failed, doubtful = failed_of(placed.tried, end, self._names)
        return self._known(failed), self._known(doubtful)

    def observe(self, replica: str, look: Look, asked_at: float) -> None:
        """What the engine said of itself, asked at `asked_at`: requests it does not have are its load no more."""
        account = self._accounts.get(replica)
        if account is None:
            return
        in_engine = look.running + look.waiting
        settled = [placed for placed in account.open.values() if placed.at < asked_at - SETTLED_SECONDS]
        for placed in settled[: max(0, len(settled) - in_engine)]:
            self._computed(placed)
            self._leave(placed)
        account.foreign = max(0, in_engine - len(account.open))
        account.learned = saturation.after_look(account.learned, look.running, look.waiting, look.kv_usage)
        account.look = look
        passed = asked_at - account.looked_at
        if passed > 0:
            account.end_rate += (account.ends / passed - account.end_rate) / 2
            account.ends, account.looked_at = 0, asked_at
        self._judge(account)

    def unseen(self, replica: str) -> None:
        """The engine does not say anything of itself: what it said counts no more."""
        account = self._accounts.get(replica)
        if account is not None:
            account.learned, account.look, account.foreign = UNKNOWN, Look(), 0
            self._judge(account)

    def adapters(self, replica: str, names: frozenset[str] | None) -> None:
        """The engine serves these adapters."""
        account = self._accounts.get(replica)
        if account is not None:
            account.adapters = names
            self._changed(account)

    def overdue(self, now: float) -> list[Placed]:
        """Take out the requests that must have ended, and nobody told us."""
        found = []
        while self._open and (placed := next(iter(self._open.values()))).at < now - self._longest:
            self._take_out(placed.request)
            found.append(placed)
        return found

    def forget_requests(self) -> list[Placed]:
        """Envoy is gone, and every request of ours with it."""
        every = list(self._open.values())
        for placed in every:
            self._take_out(placed.request)
        return every

    def keep_only(self, replicas: Iterable[str]) -> None:
        """Drop the accounts of replicas that no longer exist; what they have in flight still ends one by one."""
        keep = set(replicas)
        gone = [name for name in self._accounts if name not in keep]
        for name in gone:
            self._accounts.pop(name).place = -1
        if gone:
            for placed in self._open.values():
                if placed.replica not in keep:  # another replica may come under its name
                    placed.replica, placed.pending = "", False

    def by_group(self, heads: Iterable[str]) -> dict[str, int]:
        """Our own requests in flight, by the group of each head (its pod `<group>-0`): 0 for those never picked."""
        ours = self.in_flight()
        return {head.rpartition("-")[0]: ours.get(head, 0) for head in heads}

    def in_flight(self) -> dict[str, int]:
        """Our own requests in flight, by replica."""
        return {name: len(account.open) for name, account in self._accounts.items()}

    def _known(self, addresses: Sequence[str]) -> Sequence[str]:
        return [self._names[address] for address in addresses if address in self._names]

    def _take_out(self, request: str) -> Placed | None:
        placed = self._open.pop(request, None)
        if placed is not None:
            self._computed(placed)
            self._leave(placed)
        return placed

    def _leave(self, placed: Placed) -> None:
        account = self._accounts.get(placed.replica)
        if account is not None and account.open.pop(placed.request, None) is not None:
            self._changed(account)

    def _computed(self, placed: Placed) -> None:
        if placed.pending:
            placed.pending = False
            account = self._accounts.get(placed.replica)
            if account is not None:
                account.pending = max(0, account.pending - placed.work)
                self._changed(account)

    def _learn(self, account: Account, placed: Placed, end: End, now: float) -> None:
        """Take the rate from a stream: its first data came when its prompt and the work ahead were done."""
        if not placed.stream or not end.first_byte_ms or placed.work < _SAMPLE_TOKENS or (end.status or 0) >= _FAILURE:
            return
        if end.prompt_tokens and (end.cached_tokens or 0) > end.prompt_tokens / 2:
            return  # the work was not what we thought
        # Envoy counts from the client's first byte: what came before we placed it is not the engine's.
        before = max(0.0, (end.duration_ms or 0) / 1000 - (now - placed.at))
        seconds = (end.first_byte_ms + (end.first_data_ms or 0)) / 1000 - before
        if seconds > 0:
            sample = (placed.ahead + placed.work) / seconds
            account.rate += (sample - account.rate) * (_WEIGHT if account.rate else 1.0)
            self._rate += (sample - self._rate) * (_WEIGHT if self._rate else 1.0)

    def _judge(self, account: Account) -> None:
        account.judge(self._max_num_seqs)
        self._changed(account)

    def _changed(self, account: Account) -> None:
        if not account.changed:
            account.changed = True
            self._changes.append(account)

    def _refresh(self) -> None:
        for account in self._changes:
            account.changed = False
            if account.place >= 0:
                self._candidates[account.place] = self._candidate(account)
        self._changes.clear()

    def _candidate(self, account: Account) -> Candidate:
        endpoint, look = self._endpoints[account.place], account.look
        load = len(account.open) + account.foreign
        return Candidate(
            account.name,
            endpoint.address,
            load,
            account.last_pick,
            account.name in self._ejected,
            look.waiting,
            look.running,
            look.kv_usage,
            account.pending,
            account.rate or self._rate,
            account.most,
            account.adapters,
            load >= account.full_at,
            endpoint.revision,
        )
