"""What each replica has in flight: picks and completions counted here, corrected by what the engines say.

Picks are entered when made, taken out when Envoy's access log reports the end of the request. Once a second
`observe` compares with the engine's own count: more than ours means other routers' requests, less means ends we never
heard of. No clock: callers pass `now`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from manta_runtime.router.membership import Endpoint
from manta_runtime.router.picker.core import Candidate

# A request this old must show in the engine's own count.
SETTLED_SECONDS = 5.0
SUSPECT_SECONDS = 2.0
# Envoy's response flags for "could not connect" and "connection broke".
_FAILED = frozenset(("UF", "UC"))


@dataclass(slots=True)
class _Account:
    open: dict[str, float] = field(default_factory=dict)  # request id → when picked
    foreign: int = 0
    last_pick: int = 0
    suspect_until: float = 0.0


class Ledger:
    """Accounts by replica name."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._owner: dict[str, str] = {}  # request id → replica
        self._picks = 0

    def candidates(self, endpoints: Iterable[Endpoint], now: float) -> list[Candidate]:
        """The endpoints with their accounts, ready for `core.choose`."""
        found = []
        for endpoint in endpoints:
            account = self._accounts.get(endpoint.name)
            if account is None:
                account = self._accounts[endpoint.name] = _Account()
            load = len(account.open) + account.foreign
            suspect = now < account.suspect_until
            found.append(Candidate(endpoint.name, endpoint.address, load, account.last_pick, suspect))
        return found

    def picked(self, replica: str, request: str, now: float) -> None:
        """A request goes to `replica` now."""
        account = self._accounts[replica]
        self._picks += 1
        account.last_pick = self._picks
        if request:
            account.open[request] = now
            self._owner[request] = replica

    def ended(self, request: str, flags: str, now: float) -> None:
        """Envoy says the request is over; unknown ones are ignored. `flags`: its response flags, comma-separated."""
        replica = self._owner.pop(request, None)
        account = self._accounts.get(replica) if replica is not None else None
        if account is None:
            return
        account.open.pop(request, None)
        if not _FAILED.isdisjoint(flags.split(",")):
            account.suspect_until = now + SUSPECT_SECONDS

    def observe(self, replica: str, in_engine: int, asked_at: float) -> None:
        """The engine says it has `in_engine` requests, running and waiting; we asked at `asked_at`."""
        account = self._accounts.get(replica)
        if account is None:
            return
        settled = [request for request, at in account.open.items() if at < asked_at - SETTLED_SECONDS]
        for request in settled[: max(0, len(settled) - in_engine)]:
            del account.open[request]
            self._owner.pop(request, None)
        account.foreign = max(0, in_engine - len(account.open))

    def forget_requests(self) -> None:
        """Envoy is gone, and every request of ours with it."""
        self._owner.clear()
        for account in self._accounts.values():
            account.open.clear()

    def keep_only(self, replicas: Iterable[str]) -> None:
        """Drop the accounts of replicas that no longer exist."""
        keep = set(replicas)
        for name in [name for name in self._accounts if name not in keep]:
            for request in self._accounts.pop(name).open:
                self._owner.pop(request, None)

    def by_group(self, heads: Iterable[str]) -> dict[str, int]:
        """Our own requests in flight, by the group of each head (its pod `<group>-0`): 0 for those never picked."""
        ours = self.in_flight()
        return {head.rpartition("-")[0]: ours.get(head, 0) for head in heads}

    def in_flight(self) -> dict[str, int]:
        """Our own requests in flight, by replica."""
        return {name: len(account.open) for name, account in self._accounts.items()}
