"""The sentence of a decision: what was done, and the numbers that made it so. Pure."""

from collections.abc import Mapping

from manta_operator.scaling.limits import Limited
from manta_operator.scaling.settings import Settings
from manta_operator.scaling.signals import Signals

_BECAUSE = {
    "need": "the load of now needs {need:.1f}",
    "held": "the load of now needs {need:.1f}, but {held:.1f} were needed within the last {hold:.0f} s",
    "watching": "demand has not been watched for {hold:.0f} s without a gap, and nothing is taken away before",
    "queued": "the load of now needs {need:.1f}, but requests found no room a short while ago",
    "busy": "the load of now needs {need:.1f}, but requests that are under way occupy more",
    "starting": "the load of now needs {need:.1f}, but what was asked for last has not had the time of a start",
    "broken": "{need:.1f} are needed, but of those asked for none has become ready in the time of several starts",
    "missing": "no router could be read, and missing demand is not zero demand",
    "partial": "the load that is seen needs {need:.1f}, but some router could not be read",
    "rolling": "the load of now needs {need:.1f}, and a rollout under way needs what was asked for",
    "blind": "no router could be read, and requests wait in every engine",
    "step": "{need:.1f} are needed, and one step goes no further up",
    "saturated": "requests find no room, whatever is thought of the load, which needs {need:.1f}",
    "gently": "the load of now needs {need:.1f}, and one step goes no further down",
    "most": "{need:.1f} are needed, and maxReplicas allows no more",
    "least": "the load of now needs {need:.1f}, and minReplicas allows no fewer",
    "idle": "there has been nothing to do for {idle:.0f} s (scaleToZero.afterSeconds)",
}


_QUIET = "nothing comes now, and it goes to zero after {idle:.0f} s without any request (scaleToZero.afterSeconds)"
"""In place of what the load needs, which is nothing."""


def sentence(found: Limited, numbers: Mapping[str, float], signals: Signals, settings: Settings) -> str:
    """Return what the decision says of itself, e.g. in `status.decisions`."""
    asked = signals.replicas.asked
    move = f"from {asked} to {_replicas(found.replicas)}"
    if found.replicas == asked:
        move = f"{_replicas(asked)} {'stays' if asked == 1 else 'stay'}"
    quiet = found.because in ("need", "least") and found.replicas and not settings.least and not numbers["need"]
    words = _QUIET if quiet and found.state.idle_since is not None else _BECAUSE[found.because]
    because = words.format(**numbers, idle=settings.idle_seconds)
    text = f"{move}: {because} (load {numbers['load']:.2f} replicas, cold start {numbers['coldStart']:.0f} s"
    if signals.replicas.starting:
        text += f", {signals.replicas.starting} starting"
    if signals.replicas.unschedulable:
        text += f", {signals.replicas.unschedulable} without a place"
    if numbers["waiting"]:
        count = round(numbers["waiting"])
        text += f", {count} request{'s' * (count != 1)} waiting"
    return text + ")"


def _replicas(count: int) -> str:
    return f"{count} replica" if count == 1 else f"{count} replicas"
