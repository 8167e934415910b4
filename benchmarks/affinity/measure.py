"""What a run says about its policy. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from affinity.traces import BLOCK_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from affinity.engine import Job
    from affinity.fleet import Outcome

Row = dict[str, Any]


def measure(outcome: Outcome) -> Row:
    """Return the numbers of one run; times in seconds from the arrival at the router.

    `hit_ratio`: prompt blocks found in the cache of the engine, of all blocks the trace names.
    `imbalance`: tokens asked for (prompt and answer) of the engine with the most, over the mean of all engines;
    `imbalance_requests`, `imbalance_computed` (prompt tokens that were not cached, and answers) and `imbalance_busy`
    (seconds in which the engine computed) likewise.
    """
    jobs, engines = outcome.jobs, outcome.engines
    blocks = sum(len(job.ask.blocks) for job in jobs)
    first = sorted(job.first - job.arrived for job in jobs)
    pace = sorted((j.ended - j.first) / (j.ask.output_tokens - 1) for j in jobs if j.ask.output_tokens > 1)
    span = max(job.ended for job in jobs)
    count = len(engines)
    return {
        "hit_ratio": _round(sum(job.sequence.cached for job in jobs) / BLOCK_TOKENS / blocks if blocks else 0.0),
        "imbalance": _imbalance(jobs, count, lambda job: job.ask.prompt_tokens + job.ask.output_tokens),
        "imbalance_requests": _imbalance(jobs, count, lambda _: 1),
        "imbalance_computed": _imbalance(
            jobs, count, lambda job: job.ask.prompt_tokens - job.sequence.cached + job.ask.output_tokens
        ),
        "imbalance_busy": _ratio([engine.busy for engine in engines]),
        "ttft_p50_s": _round(quantile(first, 0.5)),
        "ttft_p90_s": _round(quantile(first, 0.9)),
        "ttft_p99_s": _round(quantile(first, 0.99)),
        "ttft_mean_s": _round(sum(first) / len(first)),
        "queue_mean_s": _round(sum(job.scheduled - job.arrived for job in jobs) / len(jobs)),
        "token_p90_s": _round(quantile(pace, 0.9)),
        "busy": _round(sum(engine.busy for engine in engines) / len(engines) / span),
        "preemptions": sum(engine.scheduler.preempted for engine in engines),
    }


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the ordered values that at least `share` of them do not exceed; 0 if there are none."""
    if not ordered:
        return 0.0
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def compare(rows: dict[str, Row], possible: float) -> None:
    """Add to every row its hit ratio over the best policy's (`hit_ratio_of_best`), and over what is `possible`."""
    best = max(row["hit_ratio"] for row in rows.values())
    for row in rows.values():
        row["hit_ratio_of_best"] = _round(row["hit_ratio"] / best if best else 1.0)
        row["hit_ratio_of_possible"] = _round(row["hit_ratio"] / possible if possible else 1.0)


def _imbalance(jobs: Sequence[Job], engines: int, weight: Callable[[Job], int]) -> float:
    loads = [0] * engines
    for job in jobs:
        loads[job.engine] += weight(job)
    return _ratio(loads)


def _ratio(loads: Sequence[float]) -> float:
    total = sum(loads)
    return _round(max(loads) * len(loads) / total) if total else 1.0


def _round(value: float) -> float:
    return round(value, 4)
