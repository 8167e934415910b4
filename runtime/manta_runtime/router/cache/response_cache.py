"""The cache as the picker sees it: hits to answer with, and tickets for misses, by which the proxy knows its own.

The picker asks before it chooses a replica (`ask`). On a miss it chooses one, leaves a ticket (`expect`) and sends
the request to the proxy, which forwards nothing that has no ticket: its port is no way around the picker.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from manta_runtime.router.cache import key, rules
from manta_runtime.router.cache.copies import Copy
from manta_runtime.router.cache.rules import Asked
from manta_runtime.router.cache.store import Entry, Store

CACHE_HEADER = "x-manta-cache"
TICKET_SECONDS = 30.0
_MAX_TICKETS = 10_000


class Question(Protocol):
    """What Envoy passes on of a request (`picker.http.Question`)."""

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """Headers, names in lower case."""

    @property
    def body(self) -> bytes:
        """The whole body."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer from the cache: 200 with these headers and this body, whole."""

    body: bytes
    content_type: str
    age: int

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What the answer says of itself besides its content type."""
        return ((CACHE_HEADER, "hit"), ("age", str(self.age)))


@dataclass(frozen=True, slots=True)
class Miss:
    """A request whose answer may be kept."""

    tenant: str
    name: bytes
    path: str
    hide_usage: bool


@dataclass(frozen=True, slots=True)
class Destination:
    """A replica that may be asked: ip:port, and the revision whose weights it has."""

    address: str
    revision: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the picker has allowed: a miss, and whom to ask, in order."""

    miss: Miss
    destinations: tuple[Destination, ...]
    until: float


class ResponseCache:
    """Answers of at most `max_bytes` in all, each for at most `ttl` seconds."""

    def __init__(self, max_bytes: int, ttl: float) -> None:
        self._store = Store(max_bytes, ttl)
        self._tickets: OrderedDict[str, Ticket] = OrderedDict()
        self.hits = 0
        self.misses = 0
        self.kept = 0

    @property
    def bytes(self) -> int:
        """Bytes in use, copies in the making included."""
        return self._store.size

    @property
    def entries(self) -> int:
        """Answers kept."""
        return len(self._store)

    @property
    def evictions(self) -> int:
        """Answers thrown away for want of room since the start."""
        return self._store.evicted

    def ask(
        self, tenant: str, question: Question, request: Asked, revision: str | None, now: float
    ) -> Hit | Miss | None:
        """The answer to a request; a Miss if it may be kept once it is there; None if the cache has no part in it.

        `revision`: `rules.current_revision` of the usable replicas; None (there is none): nothing is answered.
        """
        if not rules.may_repeat(request) or len(question.body) > key.MAX_BODY_BYTES:
            return None
        allowed = rules.directives(question.headers.get(b"cache-control", b""))
        body = key.read(question.body) if allowed.keep else None
        if body is None or not rules.is_self_contained(request.path, body, question.body):
            return None
        name = key.digest(tenant, request.path, body)
        if allowed.read and revision is not None:
            entry = self._store.get(tenant, _of_revision(name, revision), now, allowed.max_age)
            if entry is not None:
                self.hits += 1
                return Hit(entry.body, entry.content_type, int(now - entry.kept_at))
        self.misses += 1
        return Miss(tenant, name, request.path, request.stream and not request.wants_usage)

    def expect(self, miss: Miss, request_id: str, destinations: Sequence[Destination], now: float) -> None:
        """Allow the proxy to send the request with this id to these replicas; what the first one answers is kept."""
        self._tickets[request_id] = Ticket(miss, tuple(destinations), now + TICKET_SECONDS)
        self._tickets.move_to_end(request_id)
        while len(self._tickets) > _MAX_TICKETS or next(iter(self._tickets.values())).until <= now:
            self._tickets.popitem(last=False)

    def ticket(self, request_id: str, now: float) -> Ticket | None:
        """The ticket of a request; it stays until `done`, for Envoy may try again."""
        ticket = self._tickets.get(request_id)
        return ticket if ticket is not None and now < ticket.until else None

    def done(self, request_id: str) -> None:
        """The request has been answered: its ticket is void."""
        self._tickets.pop(request_id, None)

    def copy(self, ticket: Ticket, content_type: str) -> Copy:
        """Begin to copy an answer with status 200; close it whatever happens."""
        return Copy(self._store, ticket.miss.path, content_type, hide_usage=ticket.miss.hide_usage)

    def keep(self, ticket: Ticket, revision: str, copy: Copy, now: float) -> bool:
        """Keep the answer of a replica of that revision, if it is complete and there is room for it."""
        body = copy.result()
        copy.close()
        if body is None:
            return False
        name = _of_revision(ticket.miss.name, revision)
        kept = self._store.put(ticket.miss.tenant, name, Entry(body, copy.content_type, now))
        self.kept += kept
        return kept


def _of_revision(name: bytes, revision: str) -> bytes:
    """The name of one revision's answer: a rollout finds none of the old weights', and going back finds them again."""
    return name + revision.encode()
