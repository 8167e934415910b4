"""The counters of all routers of a deployment, look after look, added up to one Demand that never decreases. Pure.

A router's counters begin at 0 with its instance. One that is gone keeps what it brought; one that is new or restarted
begins at 0; of one that was there before the first look and could not be read then, nobody knows what is new, so it
counts from where it is first read. While a router cannot be read, the Demand is partial. What it counted meanwhile lies
in the past when it is back: of a gap longer than WHOLE_SECONDS only the part counts that belongs to this look,

    counted = gained x min(1, max(seconds of this look, WHOLE_SECONDS) / seconds of the gap)

for all at once would be a rush that never was. Tokens may be corrected downwards (the router estimates them before
engines count them): then they stand until they have caught up. Requests that fall, or more of anything than a router
can see, are doubted: such a router is as good as silent, and counts on from there when it makes sense again.
A process counts once, whichever pods its answers seem to come from: an address may be another pod's by now.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from manta_operator.scaling.reading import Counts, Document
from manta_operator.scaling.signals import Demand

WHOLE_SECONDS = 6.0
"""Gaps up to this long count whole: less than half of what rates are averaged over."""
SILENT_SECONDS = 60.0
"""How long a router that is not ready is waited for: it may still have requests of before."""
_NONE: Counts = (0.0, 0.0, 0.0, 0.0, 0.0)
_FASTEST: Counts = (1e5, 1e9, 1e9, 1e5, 1e15)
"""A second and router: what no router does."""
_RESET = 0.9
"""A count below this share of what it was is no correction: it has begun again, under the same name."""


@dataclass(frozen=True, slots=True)
class Source:
    """A router as it was last read, or first asked, at `at` (s). `counts` None: what it had counted is not known."""

    instance: str
    counts: Counts | None
    at: float


@dataclass(frozen=True)
class Ledger:
    """What is remembered from look to look.

    `total`: of all routers ever read. `sources`: by uid of the pod. `at`: when a router was last read (s).
    `doubted`: whose document of the last look cannot be, by uid.
    """

    total: Counts = _NONE
    sources: Mapping[str, Source] = field(default_factory=dict)
    at: float | None = None
    doubted: frozenset[str] = frozenset()


def take(
    ledger: Ledger,
    answers: Mapping[str, Document | None],
    needed: Collection[str],
    now: float,
    going: Collection[str] = (),
) -> tuple[Ledger, Demand | None]:
    """Take in one look at the routers of a deployment.

    Args:
        ledger: Of the look before.
        answers: By uid of every router that is there; None: it could not be read.
        needed: Of these, the ones that serve: without one of them the demand is partial.
        now: Seconds of a clock that never goes back.
        going: The ones on their way out: they may still hold requests, and nobody misses them.

    Returns:
        What to remember, and the demand; None if no router could be read.
    """
    look = now - ledger.at if ledger.at is not None else 0.0
    total, sources, doubted = ledger.total, {}, set()
    for uid, document in answers.items():
        source = _source(ledger, uid, document, now)
        if document is not None:
            gained = _gained(source, document, now, look, first=ledger.at is None)
            if gained is None:
                doubted.add(uid)
            else:
                total = _plus(total, gained)
            source = Source(document.instance, _highest(source, document), now)
        sources[uid] = source
    believed = {uid: None if uid in doubted else document for uid, document in answers.items()}
    seen = [document for document in believed.values() if document is not None]
    if not seen:
        return Ledger(total, sources, ledger.at, frozenset(doubted)), None
    missed = [uid for uid, document in believed.items() if document is None and uid not in going]
    partial = any(uid in needed or (sources[uid].instance and now - sources[uid].at < SILENT_SECONDS) for uid in missed)
    return Ledger(total, sources, now, frozenset(doubted)), _demand(total, seen, partial=partial)


def once(answers: Mapping[str, Document | None], needed: Collection[str]) -> dict[str, Document | None]:
    """Return the answers with each process in only once: as the answer of a router that serves, if one of them does."""
    whose: dict[str, str] = {}
    for uid, document in sorted(answers.items(), key=lambda each: each[0] not in needed):
        if document is not None:
            whose.setdefault(document.instance, uid)
    return {
        uid: document if document is not None and whose[document.instance] == uid else None
        for uid, document in answers.items()
    }


def unsure(ledger: Ledger) -> Ledger:
    """Return the ledger after a stretch of unknown length: every router counts from where it is read next."""
    return replace(ledger, sources={uid: replace(each, counts=None) for uid, each in ledger.sources.items()})


def _demand(total: Counts, seen: Sequence[Document], *, partial: bool) -> Demand:
    requests, tokens_in, tokens_out, answers, pairs = total
    return Demand(
        requests,
        tokens_in,
        tokens_out,
        answers,
        in_flight=sum(each.in_flight for each in seen),
        held=sum(each.held for each in seen),
        queue_age=max(each.queue_age for each in seen),
        pairs=pairs,
        partial=partial,
    )


def _source(ledger: Ledger, uid: str, document: Document | None, now: float) -> Source:
    """Return what is known of a router: of its process, if that was read as another pod's before."""
    known = ledger.sources.get(uid)
    if document is not None and (known is None or known.instance != document.instance):
        known = next((each for each in ledger.sources.values() if each.instance == document.instance), known)
    return known or _new(ledger, now)


def _new(ledger: Ledger, now: float) -> Source:
    """Begin with a router: it was there before the first look, or it has come since."""
    return Source("", None, now) if ledger.at is None else Source("", _NONE, ledger.at)


def _gained(source: Source, document: Document, now: float, look: float, *, first: bool) -> Counts | None:
    """Return what to count of a router now; None: it says what cannot be."""
    if source.counts is None:
        return document.counts if first else _NONE
    before = source.counts if source.instance == document.instance else _NONE
    if document.counts[0] < before[0] or document.counts[3] < before[3]:
        return None
    gap = now - source.at
    share = min(1.0, max(look, WHOLE_SECONDS) / gap) if gap > 0 else 1.0
    gained = [max(0.0, count - then) for count, then in zip(document.counts, before, strict=True)]
    if any(count > most * max(1.0, gap) for count, most in zip(gained, _FASTEST, strict=True)):
        return None
    requests, tokens_in, tokens_out, answers, pairs = (count * share for count in gained)
    return requests, tokens_in, tokens_out, answers, pairs


def _highest(source: Source, document: Document) -> Counts:
    """Return from where a router counts on: the most tokens it has said, unless it has begun again."""
    if source.counts is None or source.instance != document.instance:
        return document.counts
    pairs = zip(document.counts, source.counts, strict=True)
    _, tokens_in, tokens_out, _, squares = (now if now < _RESET * then else max(now, then) for now, then in pairs)
    return document.counts[0], tokens_in, tokens_out, document.counts[3], squares


def _plus(total: Counts, gained: Counts) -> Counts:
    requests, tokens_in, tokens_out, answers, pairs = (a + b for a, b in zip(total, gained, strict=True))
    return requests, tokens_in, tokens_out, answers, pairs
