"""`status.autoscaling`: what is asked for, why, and what changed last; written when it says something new. Pure.

A decision is made every few seconds, and its numbers move with every request. A status that followed them would be
written as often, so it is left as it stands but for three cases:

    another number of replicas      at once, with an entry in `changes`
    another reason                  after CALM_SECONDS: at the edge of a step it would come and go with every look
    other numbers                   after CALM_SECONDS, if one that matters has moved by MATERIAL
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manta_operator.api.autoscaling import MOST_CHANGES
from manta_operator.planning.observe_pods import seconds
from manta_operator.scaling.decide import Decision

CALM_SECONDS = 60.0
"""How long a status stands at least while the number of replicas does."""
MATERIAL = 0.1
"""By which share of it a number has to move to be written anew; and by as much of a replica, for what is near 0."""
_MATTERS = ("load", "need", "held", "speed", "coldStart")
_MESSAGE_LIMIT = 1024
REASONS: Mapping[str, str] = {
    "need": "Needed",
    "held": "Kept",
    "watching": "Watching",
    "queued": "FullLately",
    "starting": "Starting",
    "busy": "UnderWay",
    "broken": "NoneReady",
    "rolling": "RollingOut",
    "missing": "SignalsMissing",
    "partial": "SignalsMissing",
    "blind": "Saturated",
    "saturated": "Saturated",
    "step": "SteppingUp",
    "gently": "SteppingDown",
    "failed": "InternalError",
    "most": "AtMost",
    "least": "AtLeast",
    "idle": "Idle",
}
"""What the status calls what the decision does (scaling/words.py)."""
BEGUN, BOUNDED = "Watching", "Bounded"


@dataclass(frozen=True)
class Learned:
    """What is known of a replica: `speed` relative to the estimate, seconds of a start; None: not yet."""

    speed: float | None = None
    cold_start: float | None = None


@dataclass(frozen=True)
class Scaling:
    """What of the autoscaler the conditions read.

    Attributes:
        told: The whole of status.autoscaling as it is to be written.
        least: minReplicas.
        most: maxReplicas.
        decided: Whether this process has decided anything yet.
        missing: Names of the router pods that could not be read, all of them or some.
        missing_since: RFC 3339 time of the last look at which none was missing; None: not known.
        blind: Whether no router at all could be read.
        unschedulable: Replicas that wait for a place.
        hold_seconds: How long a request waits for a replica while there is none.
        fault: The bug that keeps it from deciding; empty: there is none.
        owner: Who else writes the number of replicas (autoscale.second_owner); None: nobody.
        old: Those of `missing` whose image is older than the operator: they have nothing to read.
        mute: Whether no engine that serves has told what it does for long, although routers answer.
        off: Whether spec.autoscaling was left out, and more replicas stay for a while than spec.replicas says.
    """

    told: Mapping[str, Any]
    least: int
    most: int
    decided: bool = True
    missing: tuple[str, ...] = ()
    missing_since: str | None = None
    blind: bool = False
    unschedulable: int = 0
    hold_seconds: int = 0
    fault: str = ""
    owner: str | None = None
    off: bool = False
    old: tuple[str, ...] = ()
    mute: bool = False


def told(before: Mapping[str, Any], decided: Decision | None, asked: int, learned: Learned, now: str) -> dict[str, Any]:
    """Return the whole of status.autoscaling.

    Args:
        before: The status of the deployment as it stands.
        decided: The last decision; None: nothing was decided yet by this process.
        asked: How many replicas are asked for now.
        learned: What is known of a replica.
        now: RFC 3339 time in UTC, seconds.
    """
    old: Mapping[str, Any] = before.get("autoscaling") or {}
    new = _said(old, decided, asked, learned, now)
    if old and old.get("replicas") == asked and not _worth_a_write(old, new, now):
        return dict(old)
    changes = list(old.get("changes") or ())
    if old and old.get("replicas") != asked:
        change = {"time": now, "fromReplicas": old["replicas"], "toReplicas": asked}
        changes.insert(0, change | {"reason": new["reason"], "message": new["message"]})
    return new | ({"changes": changes[:MOST_CHANGES]} if changes else {})


def _said(old: Mapping[str, Any], decided: Decision | None, asked: int, learned: Learned, now: str) -> dict[str, Any]:
    """Return it without the changes."""
    new: dict[str, Any] = {"replicas": asked, "time": now}
    if decided is not None and decided.replicas == asked:
        new |= {"reason": reason_of(decided), "message": _sentence(decided, old.get("replicas"))[:_MESSAGE_LIMIT]}
        new["numbers"] = {name: value for name, value in decided.numbers.items() if math.isfinite(value)}
    elif old and old.get("replicas") != asked:
        message = f"from {old.get('replicas')} to {_count(asked)}: minReplicas and maxReplicas allow no other number"
        new |= {"reason": BOUNDED, "message": message}
    elif old:
        new |= {name: old[name] for name in ("reason", "message", "numbers") if name in old}
    else:
        new |= {"reason": BEGUN, "message": f"begun with {_count(asked)}; demand is being watched"}
    if learned.cold_start is not None:
        new["coldStartSeconds"] = round(learned.cold_start, 1)
    if learned.speed is not None:
        new["speed"] = round(learned.speed, 3)
    return new


def _sentence(decided: Decision, before: int | None) -> str:
    """Return what a decision says; that it is another number than the status has, though it came in several looks."""
    asked, (move, colon, because) = decided.replicas, decided.reason.partition(": ")
    if before in (None, asked) or move.startswith(f"from {before} "):
        return decided.reason
    return f"from {before} to {_count(asked)}{colon}{because}"


def _count(number: int) -> str:
    return "1 replica" if number == 1 else f"{number} replicas"


def reason_of(decided: Decision) -> str:
    """Return why a decision asks for so many, in one CamelCase word."""
    return REASONS.get(decided.because) or decided.because[:1].upper() + decided.because[1:]


def _worth_a_write(old: Mapping[str, Any], new: Mapping[str, Any], now: str) -> bool:
    then, moment = seconds(old.get("time")), seconds(now)
    if then is not None and moment is not None and 0 <= moment - then < CALM_SECONDS:
        return False
    if old.get("reason") != new["reason"]:
        return True
    pairs = [(_number(old, name), _number(new, name)) for name in _MATTERS]
    pairs += [(old.get(name), new.get(name)) for name in ("speed", "coldStartSeconds")]
    return any(_moved(a, b) for a, b in pairs)


def _number(said: Mapping[str, Any], name: str) -> float | None:
    return (said.get("numbers") or {}).get(name)


def _moved(before: float | None, now: float | None) -> bool:
    if before is None or now is None:
        return before is not now
    return abs(now - before) > max(MATERIAL, MATERIAL * abs(before))
