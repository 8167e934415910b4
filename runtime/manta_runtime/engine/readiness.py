"""Is this pod ready? Pure: an ordered list of small checks, the first that fails is the reason.

A head is ready when it can produce a token now: all ranks present, the engine healthy, one real token produced,
and no request left without progress.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manta_runtime.engine.group import Group


@dataclass(frozen=True)
class Verdict:
    """Whether the pod is ready, and a sentence that says why or why not."""

    ready: bool
    message: str


@dataclass(frozen=True)
class Health:
    """What the launcher last saw of vLLM. `healthy`: /health said 200; `produced`: one token was generated.

    `waits`: what must still be there before the first request, such as adapters.
    `stall` says why it would answer nothing now, "" when it makes progress or has nothing to do.
    """

    started: bool = False
    healthy: bool = False
    produced: bool = False
    waits: str = ""
    stall: str = ""


def judge_head(group: Group, health: Health) -> Verdict:
    """Return the readiness of rank 0."""
    checks = (
        (group.stage in ("draining", "done"), "draining: no new requests"),
        (bool(group.lost), f"lost: {group.lost}"),
        (bool(group.missing), f"ranks {list(group.missing)} have not joined"),
        (not health.started, "vLLM is not started yet"),
        (not health.healthy, "vLLM's /health does not say 200"),
        (not health.produced, "vLLM has not produced a token yet"),
        (bool(health.waits), health.waits),
        (bool(health.stall), health.stall),
    )
    for failed, message in checks:
        if failed:
            return Verdict(ready=False, message=message)
    return Verdict(ready=True, message="serving")


def judge_worker(joined: bool, stopping: bool) -> Verdict:
    """Return the readiness of a rank above 0: it is ready while it is a part of its group."""
    if stopping:
        return Verdict(ready=False, message="draining")
    return Verdict(ready=joined, message="joined" if joined else "has not joined its group yet")
