"""How far the pods that fetch their model are: what GET /fetch of each said, and the sentence for the status. Pure.

A status is not written for every megabyte: what was told stands until a pod's fetch comes to another state, a tenth of
its bytes are in, or `TELL_SECONDS` have gone by. `controller.fetches` asks the pods; `conditions` puts the sentence
into ModelAvailable.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from manta_operator.api.printable import printable
from manta_operator.planning.observed import Fetch, Observed, ObservedPod

TELL_SECONDS = 30.0
_TENTH = 0.1
_WORDS_LIMIT = 200
_LARGEST = 2**63
"""Of sizes, rates and times: nobody has more, and what is computed with less stays a number."""
_PHASES = {
    "starting": "the fetch starts",
    "listing": "the files are listed",
    "finishing": "what was fetched is put in place",
}


@dataclass(frozen=True)
class Told:
    """What the status says: when it was asked (seconds of any clock), and the answers by the uid of the pod."""

    at: float
    fetches: Mapping[str, Fetch]


def read_fetch(document: Any) -> Fetch | None:
    """Read the answer of GET /fetch; None if it is none."""
    try:
        left = document["seconds_left"]
        sizes = [int(document["bytes"]), int(document["total"])]
        speeds = [float(document["bytes_per_s"]), 0.0 if left is None else float(left)]
        state, waiting_for = (printable(str(document[name]), _WORDS_LIMIT) for name in ("state", "waiting_for"))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not all(0 <= number <= _LARGEST for number in (*sizes, *speeds)):  # NaN is not
        return None
    seconds_left = None if left is None else speeds[1]
    return Fetch(state, sizes[0], sizes[1], speeds[0], seconds_left, waiting_for)


def told(before: Told | None, asked: Mapping[str, Fetch], now: float) -> Told:
    """Return what the status is to say: what it said before, unless that has become old or wrong."""
    return before if before is not None and not _is_news(before, asked, now) else Told(now, dict(asked))


def _is_news(before: Told, asked: Mapping[str, Fetch], now: float) -> bool:
    if now - before.at >= TELL_SECONDS or set(before.fetches) != set(asked):
        return True
    pairs = [(before.fetches[uid], fetch) for uid, fetch in asked.items()]
    return any(old.state != new.state or abs(new.share - old.share) >= _TENTH for old, new in pairs)


def with_fetches(observed: Observed, answers: Told | None) -> Observed:
    """Return what was observed, with how far its pods are."""
    if answers is None or not answers.fetches:
        return observed
    pods = tuple(replace(pod, fetch=answers.fetches.get(pod.uid)) if pod.fetching else pod for pod in observed.pods)
    return replace(observed, pods=pods)


def fetching(pods: Iterable[ObservedPod]) -> str:
    """Return how far the fetch is that has furthest to go, and how many others there are; empty if there is none."""
    found = sorted((pod for pod in pods if pod.fetching), key=_order)
    if not found:
        return ""
    others = f", and {len(found) - 1} more" if len(found) > 1 else ""
    again = f" (try {found[0].restarts + 1})" if found[0].restarts else ""
    return f"{_words(found[0].fetch)}; pod {found[0].name}{again}{others}"


def _order(pod: ObservedPod) -> tuple[int, float, str]:
    """What has figures comes first: those who wait for another pod wait for these."""
    if pod.fetch is None:
        return (2, 0.0, pod.name)
    return (0 if pod.fetch.total and pod.fetch.state != "waiting" else 1, pod.fetch.share, pod.name)


def _words(fetch: Fetch | None) -> str:
    if fetch is None:
        return "the model is fetched; how far it is, is not known yet"
    if fetch.state == "waiting":
        return f"waits for {fetch.waiting_for or 'another pod that fetches the model'}"
    if not fetch.total or fetch.state in _PHASES:
        return _PHASES.get(fetch.state, "the model is fetched")
    rate = f", {fetch.rate / 1e6:.{0 if fetch.rate >= 1e7 else 1}f} MB/s" if fetch.rate else ""
    left = f", about {_duration(fetch.seconds_left)} left" if fetch.seconds_left is not None else ""
    return f"{_of(fetch.bytes, fetch.total)} ({100 * fetch.share:.0f} %){rate}{left}"


def _of(done: int, total: int) -> str:
    """Write both sizes in the unit of the larger one."""
    unit, size = ("GiB", 2**30) if total >= 2**30 else ("MiB", 2**20)
    return f"{done / size:.1f} of {total / size:.1f} {unit}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
