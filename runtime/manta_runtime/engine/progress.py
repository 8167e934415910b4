"""Does vLLM still make progress on what it was asked? Pure: one value, advanced by every look at the engine.

A frozen rank hangs a step of the engine, and neither /health nor the gauges of running requests say so: vLLM updates
its metrics after a step. So what was asked is taken from its HTTP side (/load), and progress from the metrics.

With data parallelism there is one engine for each data rank, and /load counts the requests of them all. So each has a
progress of its own: one that stands still while requests are unanswered is asked for a token, whatever the others do.

    waited  = last look - since, where since = when requests began to wait without a step
    unready : waited >= STALL_SECONDS; with data ranks, of any
    hung    : waited >= hangSeconds: the launcher ends, and the group starts again

Time in which nobody looked proves nothing: `waited` ends with the last look that vLLM answered, and `forgive` takes out
what the launcher itself slept through.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

STALL_SECONDS = 60.0
"""With requests and no step of the engine for this long, nobody should be sent here."""
IDLE_SECONDS = 60.0
"""An engine that has had nothing to do for this long is asked for a token: idle and hung look alike."""
ASKED_SECONDS = 15.0
"""A token that was asked for and does not come is given up after this long, and asked for anew. Both change the number
of waiting requests, and vLLM counts that after a step: so even steps that move nothing else are seen (a long prefill of
a model with a sliding window frees as many blocks as it takes)."""

BLIND = (
    "vLLM's /metrics tells nothing of its steps, so that nobody would see it hang, or a drain end: "
    "leave --disable-log-stats out"
)
"""Why an engine that may well serve is not ready."""

# During a chunked prefill only the share of the KV cache in use grows from step to step (measured, vLLM 0.32: the
# tokens of the prompt are counted once, at its end); decoding moves the count of iterations, which skips those chunks.
_MOVED_BY_STEPS = (
    "vllm:iteration_tokens_total_count",
    "vllm:kv_cache_usage_perc",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
)
_ENGINE = re.compile(r'[{,]engine="(\d+)"')


@dataclass(frozen=True)
class Look:
    """One look at an engine: the samples that its steps move, and the requests the HTTP server has not answered."""

    marks: tuple[str, ...]
    unanswered: int


@dataclass(frozen=True)
class Progress:
    """The latest marks, and `since` when (monotonic seconds) requests wait without a step; None: nothing waits.

    `seen`: the time of the latest look; `moved`: of the look that saw the latest step.
    """

    marks: tuple[str, ...] = ()
    unanswered: int = 0
    since: float | None = None
    seen: float = 0.0
    moved: float = 0.0

    @property
    def waited(self) -> float:
        """For how many seconds requests have been seen to wait without a step."""
        return 0.0 if self.since is None else self.seen - self.since


def read_marks(metrics: str) -> dict[str, tuple[str, ...]]:
    """Return the samples of vLLM's /metrics text that an engine's steps move, by engine; empty when it keeps none."""
    marks: dict[str, tuple[str, ...]] = {}
    for line in metrics.splitlines():
        if line.partition("{")[0].partition(" ")[0] in _MOVED_BY_STEPS:
            found = _ENGINE.search(line)
            engine = found[1] if found else "0"
            marks[engine] = (*marks.get(engine, ()), line)
    return marks


def after_look(progress: Progress, look: Look, now: float) -> Progress:
    """Return the progress after a look at `now` (monotonic seconds).

    Clients that give up prove nothing: once requests have waited, only a step of the engine ends the wait.
    """
    if look.marks != progress.marks:
        return Progress(look.marks, look.unanswered, now if look.unanswered else None, seen=now, moved=now)
    if look.unanswered:
        since = now if progress.since is None else progress.since
        return replace(progress, unanswered=look.unanswered, since=since, seen=now)
    return replace(progress, seen=now)


def forgive(progress: Progress, seconds: float) -> Progress:
    """Return the progress as if the clock had stood still for `seconds`: the launcher slept, and so may the engine."""
    since = None if progress.since is None else progress.since + seconds
    return replace(progress, since=since, seen=progress.seen + seconds, moved=progress.moved + seconds)


def wants_token(progress: Progress) -> bool:
    """Say whether to ask vLLM for a token: its step tells a hang from a request that is gone, or that others hold up.

    It is also what ends a stall when all clients have left, and what finds a hang that no client has met yet.
    """
    if progress.since is None:
        return progress.seen - progress.moved >= IDLE_SECONDS
    return progress.waited >= STALL_SECONDS / 2


def describe_stall(progress: Progress) -> str:
    """Return why no token can be expected, "" while one can."""
    if progress.since is None or progress.waited < STALL_SECONDS:
        return ""
    count = f"{progress.unanswered} unanswered request" + ("" if progress.unanswered == 1 else "s")
    return f"vLLM has {count} and has made no progress for {progress.waited:.0f} s"


def describe_stalls(engines: Mapping[str, Progress]) -> str:
    """Return why no token can be expected of one of the engines, "" while all make progress; the worst is told."""
    stalls = {engine: stall for engine, progress in engines.items() if (stall := describe_stall(progress))}
    if not stalls:
        return ""
    worst = max(stalls, key=lambda engine: engines[engine].waited)
    where = f" in data rank {', '.join(stalls)} of {len(engines)}" if len(engines) > 1 else ""
    return stalls[worst] + where
