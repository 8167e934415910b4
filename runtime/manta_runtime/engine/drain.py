"""When may a draining engine stop? Pure: one decision per look at the engine.

SIGTERM → look away (the router drops the endpoint meanwhile) → wait until nothing is in flight → stop. Past the
deadline the engine is killed instead: its sockets close, and clients get an error rather than silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

QUIET_SECONDS = 2.0
"""The router may still send requests to a pod that has stopped being ready: only without a new one for this long has
everybody looked away."""

PROBED_SECONDS = 6.0
"""The deletion of a pod is seen at once, but its readiness when a probe has failed twice, 2 s apart: no drain of a pod
that is not being deleted is shorter."""

Action = Literal["wait", "stop", "kill"]


@dataclass(frozen=True)
class DrainView:
    """One look at the engine.

    `elapsed`: seconds of drain so far, of at most `deadline`. `announced`: the pod is being deleted. `in_flight`:
    requests running and waiting (None: unknown). `quiet`: seconds since a look saw something in flight or new.
    """

    elapsed: float
    deadline: float
    announced: bool
    in_flight: int | None
    quiet: float
    hurried: bool


@dataclass(frozen=True)
class DrainStep:
    """What to do now, and a sentence that says why."""

    action: Action
    message: str


def decide(view: DrainView) -> DrainStep:
    """Return the next step. Quiet is asked for, not one idle look: requests may be on their way."""
    if view.hurried:
        return DrainStep("kill", f"told to stop a second time, {count_words(view.in_flight)} in flight were cut off")
    away = view.announced or view.elapsed >= min(PROBED_SECONDS, view.deadline)
    if view.in_flight == 0 and away and view.quiet >= min(QUIET_SECONDS, view.deadline):
        return DrainStep("stop", f"drained after {view.elapsed:.1f} s")
    if view.elapsed >= view.deadline:
        return DrainStep(
            "kill", f"not drained within {view.deadline:.0f} s, {count_words(view.in_flight)} in flight were cut off"
        )
    return DrainStep(
        "wait", f"draining: {count_words(view.in_flight)} in flight, {view.elapsed:.0f} s of {view.deadline:.0f} s"
    )


def count_in_flight(metrics: str) -> int | None:
    """Return vLLM's running + waiting requests from its /metrics text, or None when it does not say."""
    total = 0.0
    found = False
    for line in metrics.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in ("vllm:num_requests_running", "vllm:num_requests_waiting"):
            found = True
            total += float(line.rpartition(" ")[2])
    return int(total) if found else None


def count_begun(metrics: str) -> float | None:
    """Return what grows with every request vLLM begins, or None when it does not say."""
    lines = [line for line in metrics.splitlines() if line.startswith("vllm:prompt_tokens_total")]
    return sum(float(line.rpartition(" ")[2]) for line in lines) if lines else None


def count_words(in_flight: int | None) -> str:
    """Return so many requests in words; None: unknown."""
    if in_flight is None:
        return "an unknown number of requests"
    return f"{in_flight} request" + ("" if in_flight == 1 else "s")
