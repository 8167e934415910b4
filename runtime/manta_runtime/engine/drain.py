"""When may a draining engine stop? Pure: one decision per look at the engine.

SIGTERM → look away (the router drops the endpoint meanwhile) → wait until nothing is in flight → stop. Past the
deadline the engine is killed instead: its sockets close, and clients get an error rather than silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

STRAGGLER_SECONDS = 2.0
"""How long the router may still send requests to a pod that has stopped being ready: no drain is shorter."""

Action = Literal["wait", "stop", "kill"]


@dataclass(frozen=True)
class DrainView:
    """One look: seconds since SIGTERM, requests running + waiting (None: unknown), looks in a row that saw none."""

    elapsed: float
    deadline: float
    in_flight: int | None
    idle_looks: int
    hurried: bool


@dataclass(frozen=True)
class DrainStep:
    """What to do now, and a sentence that says why."""

    action: Action
    message: str


def decide(view: DrainView) -> DrainStep:
    """Return the next step. Two idle looks in a row are asked for: a request may be between socket and queue."""
    if view.hurried:
        return DrainStep("kill", f"told to stop a second time, {_count(view.in_flight)} in flight are cut off")
    if view.idle_looks >= 2 and view.elapsed >= min(STRAGGLER_SECONDS, view.deadline):
        return DrainStep("stop", f"drained after {view.elapsed:.1f} s")
    if view.elapsed >= view.deadline:
        return DrainStep(
            "kill", f"not drained within {view.deadline:.0f} s, {_count(view.in_flight)} in flight are cut off"
        )
    return DrainStep(
        "wait", f"draining: {_count(view.in_flight)} in flight, {view.elapsed:.0f} s of {view.deadline:.0f} s"
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


def _count(in_flight: int | None) -> str:
    if in_flight is None:
        return "an unknown number of requests"
    return f"{in_flight} request" + ("" if in_flight == 1 else "s")
