"""Which pod is bound first, and what to say of one that no node suits: pure.

Whether a node suits is `placement`'s to judge, as for the planner. Messages begin with kube-scheduler's words, so
that people and tools recognise them, and go on with numbers and a remedy.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from manta_operator.box.cluster import Object
from manta_operator.box.workloads.objects import TERMINAL_PHASES, phase, seconds
from manta_operator.placement.predicates import Misfit


def order(pods: Sequence[Object], priorities: Mapping[str, int]) -> list[Object]:
    """Pods still to bind: higher priority first, then first come, first served. priorities: by PriorityClass name."""
    waiting = [pod for pod in pods if _waits(pod)]
    return sorted(waiting, key=lambda pod: (-_priority(pod, priorities), _created(pod), pod["metadata"]["name"]))


def _waits(pod: Object) -> bool:
    ours = pod["spec"].get("schedulerName", "default-scheduler") == "default-scheduler"
    free = not pod["spec"].get("nodeName") and not pod["spec"].get("schedulingGates")
    return ours and free and not pod["metadata"].get("deletionTimestamp") and phase(pod) not in TERMINAL_PHASES


def _created(pod: Object) -> float:
    return seconds(pod["metadata"].get("creationTimestamp"))


def _priority(pod: Object, priorities: Mapping[str, int]) -> int:
    own = pod["spec"].get("priority")
    return int(own) if own is not None else priorities.get(pod["spec"].get("priorityClassName") or "", 0)


def message(found: Sequence[Sequence[Misfit]]) -> str:
    """One sentence per misfit of all nodes, one list a node, in kube-scheduler's words first."""
    misfits = [misfit for node in found for misfit in node]
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(m.reason for m in misfits).items())
    details = dict.fromkeys(misfit.detail for misfit in misfits)
    return f"0/{len(found)} nodes are available: {reasons}. {'. '.join(details)}."
