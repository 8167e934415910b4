"""Does vLLM still make progress on what it was asked? Pure: one value, advanced by every look at the engine.

A frozen rank hangs a step of the engine, and neither /health nor the gauges of running requests say so: vLLM updates
its metrics after a step. So what was asked is taken from its HTTP side (/load), and progress from the metrics.

With data parallelism there is one engine for each data rank, and /load counts the requests of them all. So each has a
progress of its own: one that stands still while requests are unanswered is asked for a token, whatever the others do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

STALL_SECONDS = 60.0
"""With requests and no step of the engine for this long, nobody should be sent here."""

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
    """The latest marks, and `since` when (monotonic seconds) requests wait without a step; None: nothing waits."""

    marks: tuple[str, ...] = ()
    unanswered: int = 0
    since: float | None = None


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
        return Progress(look.marks, look.unanswered, now if look.unanswered else None)
    if look.unanswered:
        return Progress(look.marks, look.unanswered, now if progress.since is None else progress.since)
    return progress


def wants_token(progress: Progress, now: float) -> bool:
    """Say whether to ask vLLM for a token: its step tells a hang from a request that is gone, or that others hold up.

    It is also what ends a stall when all clients have left.
    """
    return progress.since is not None and now - progress.since >= STALL_SECONDS / 2


def describe_stall(progress: Progress, now: float) -> str:
    """Return why no token can be expected, "" while one can."""
    if progress.since is None or now - progress.since < STALL_SECONDS:
        return ""
    count = f"{progress.unanswered} unanswered request" + ("" if progress.unanswered == 1 else "s")
    return f"vLLM has {count} and has made no progress for {now - progress.since:.0f} s"


def describe_stalls(engines: Mapping[str, Progress], now: float) -> str:
    """Return why no token can be expected of one of the engines, "" while all make progress; the worst is told."""
    stalls = {engine: stall for engine, progress in engines.items() if (stall := describe_stall(progress, now))}
    if not stalls:
        return ""
    worst = min(stalls, key=lambda engine: engines[engine].since or 0.0)
    where = f" in data rank {', '.join(stalls)} of {len(engines)}" if len(engines) > 1 else ""
    return stalls[worst] + where
