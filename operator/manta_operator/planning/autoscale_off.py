"""What becomes of the replicas when spec.autoscaling is left out: down to spec.replicas in steps, not at once. Pure.

    n0 = status.autoscaling.replicas as it was, for STEP_SECONDS       time to say how many there should be
    n  = n - max(1, n / 2) every STEP_SECONDS                          until n <= spec.replicas, which rules then

spec.replicas was not followed before, often nobody ever wrote it, and its default is 1: to follow it at once would take
away under load what the demand has asked for. More than n are followed at once, whoever writes them. The number lives
in status.autoscaling, as that of the autoscaler does, so a restarted operator goes on from it.
"""

from collections.abc import Mapping
from typing import Any

from manta_operator.api.autoscaling import MOST_CHANGES
from manta_operator.planning.observe_pods import seconds

TURNED_OFF = "TurnedOff"
"""The reason in status.autoscaling, and of the condition Autoscaled."""
STEP_SECONDS = 60.0


def stepping(asked: int, status: Mapping[str, Any], now: str) -> dict[str, Any] | None:
    """Return the whole of status.autoscaling while more replicas stay than are asked for; None: the spec rules.

    Args:
        asked: spec.replicas, of a spec without autoscaling.
        status: Of the deployment, as it stands.
        now: RFC 3339 time in UTC, seconds.
    """
    old: Mapping[str, Any] = status.get("autoscaling") or {}
    number = old.get("replicas")
    if not isinstance(number, int) or number <= asked:
        return None
    begun = old.get("reason") == TURNED_OFF
    changes = tuple(old.get("changes") or ())
    if begun and remaining(old, now) <= 0:
        begun, before, number = False, number, number - max(1, number // 2)
        if number <= asked:
            return None
        change = {"time": now, "fromReplicas": before, "toReplicas": number, "reason": TURNED_OFF}
        changes = (
            change | {"message": f"from {before} to {number} replicas, as spec.autoscaling was left out"},
            *changes,
        )
    told = {"replicas": number, "reason": TURNED_OFF, "message": _words(number, asked)}
    told["time"] = old["time"] if begun and "time" in old else now
    kept = {name: old[name] for name in ("speed", "coldStartSeconds") if name in old}
    return told | kept | ({"changes": list(changes[:MOST_CHANGES])} if changes else {})


def remaining(told: Mapping[str, Any], now: str) -> float:
    """Return the seconds until the next step; 0 where the time of the last one is not known, or yet to come."""
    then, moment = seconds(told.get("time")), seconds(now)
    if then is None or moment is None or then > moment:
        return 0.0
    return max(0.0, then + STEP_SECONDS - moment)


def advice(number: int) -> str:
    """Return how to turn autoscaling off without losing a replica."""
    return f"set spec.replicas to what is needed ({number} now) in the same change that leaves out spec.autoscaling"


def _words(number: int, asked: int) -> str:
    stay = "1 replica stays" if number == 1 else f"{number} replicas stay"
    return (
        f"spec.autoscaling was left out, and spec.replicas says {asked}: {stay} for now, half of them go each minute "
        f"until {asked} {'is' if asked == 1 else 'are'} left; set spec.replicas to what is needed"
    )
