"""How each group is, and which are restarted: Kubernetes sees pods that run, not a group that hangs. Pure.

    serving   all its pods are ready
    lost      a pod is on a lost node: the group is pruned, and another is started elsewhere
    blinking  not ready, but the very processes that served are there, and that for less than `patience`
    starting  anything else that does not serve
    failing   a group that does not serve, with words for why: a pod has a problem or restarted often, or it is late

    since     = max over pods (created, started, fetched, stopped being ready)   the youngest pod, the latest mishap
    allowed   = (startupSeconds, or hangSeconds + HANG_MARGIN if the processes that served hang)
                + BACK_OFF x (2^count - 1)
    restart   : every pod exists and runs, an engine does not serve, now >= since + allowed, count < BUDGET
    healed    : count > 0 and the group has served for HEALED_SECONDS: count = 0 again

A restart is a fact on the StatefulSet before anything is deleted: `at` is just after the creation of the youngest pod,
so pods created before it go, in this pass or after a crash in a later one, and their successors never do, whatever
the clocks say. An engine that crashes needs none of this: its kubelet restarts it, and the group joins again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from manta_operator.planning.observed import SUSPICIOUS_SECONDS, Observed, ObservedGroup, ObservedPod

BUDGET = 5
BACK_OFF_SECONDS = 60.0
HANG_MARGIN_SECONDS = 60.0
"""The launcher takes an engine that makes no progress for unready after 60 s, and ends it after hangSeconds: that is
60 s before the pod has been unready for so long, and this is the second line, 120 s behind."""
PATIENCE_SECONDS = 360.0
"""Where no other group serves, one that may come back by itself is waited for."""
HEALED_SECONDS = 600.0
BLINK_SECONDS = 60.0
"""Some failed probes. A longer absence is no blink while others serve."""
FAILING_RESTARTS = 3
NEVER_SERVED_RESTARTS = 2
"""The same of an engine that has never served: then its kubelet backs off already, and it fails until it serves."""
NODE_SECONDS = SUSPICIOUS_SECONDS + 5
"""A pod that does not serve may have lost its node: then it is looked at, too."""


@dataclass(frozen=True)
class Restart:
    """A group to restart: write `count` and `at` on its StatefulSet; its pods created before `at` are then to go.

    Count 0 with the `at` of before: the group has healed.
    """

    group: str
    uid: str
    count: int
    at: float


@dataclass(frozen=True)
class Trouble:
    """A group that should serve and does not, and why."""

    group: str
    message: str
    restarts: int = 0
    spent: bool = False
    """Its budget of restarts is spent: a person has to look."""
    late: bool = False
    """It has not served by the progress deadline."""
    waits: bool = False
    """It has no place, or no pods: nothing is wrong with it."""


@dataclass(frozen=True)
class Deadlines:
    """How long is long, in seconds, from the spec."""

    startup: float = 1800.0
    progress: float = 2400.0
    hang: float = 300.0


def blinking_until(group: ObservedGroup, observed: Observed) -> float | None:
    """Return until when this group may serve again by itself, in epoch seconds; None if it serves, or will not."""
    absent = [pod for pod in group.members if not pod.ready]
    if group.lost or not group.complete or not absent or not all(pod.only_unready for pod in absent):
        return None
    others = any(other.ready for other in observed.groups if other.name != group.name)
    return max(pod.unready_since or 0.0 for pod in absent) + (BLINK_SECONDS if others else PATIENCE_SECONDS)


def restart_due(group: ObservedGroup, deadlines: Deadlines) -> float | None:
    """Return when the group will have had its time, in epoch seconds; None where a restart would not help."""
    if group.ready or group.lost or not group.complete or not all(pod.running for pod in group.members):
        return None
    if group.restart and any(pod.created < group.restart.at for pod in group.members):
        return None  # the last restart is still under way
    if all(pod.ready or pod.helper_ended is not None for pod in group.members):
        return None  # every engine is ready: what fails beside it would fail in a new pod, too
    return hopeless_at(group, deadlines)


def hopeless_at(group: ObservedGroup, deadlines: Deadlines) -> float | None:
    """Return when a group that does not serve has had the time that its pods need to, in epoch seconds.

    None while a pod is on its way out, or while one is missing and the others serve on: it is made again now.
    """
    absent = [pod for pod in group.members if not pod.ready]
    if any(pod.deleting for pod in group.members) or (group.members and not absent):
        return None
    since = max(group.created, *map(_prepared, group.members), *(pod.unready_since or 0.0 for pod in absent))
    hung = bool(absent) and all(pod.only_unready for pod in absent)
    allowed = deadlines.hang + HANG_MARGIN_SECONDS if hung else deadlines.startup
    return since + allowed + BACK_OFF_SECONDS * (2.0 ** _count(group) - 1)


def dies(group: ObservedGroup) -> bool:
    """Whether an engine of the group ends as often as it is started: waiting for it is in vain."""
    return any(pod.problem is not None and pod.restarts >= FAILING_RESTARTS for pod in group.members)


def restarts(groups: Iterable[ObservedGroup], deadlines: Deadlines, now: float) -> tuple[Restart, ...]:
    """Return the groups whose restart is to be noted now, and those whose count is forgiven."""
    found = []
    for group in groups:
        due = restart_due(group, deadlines)
        if due is not None and now >= due and _count(group) < BUDGET:
            youngest = max(pod.created for pod in group.members)
            found.append(Restart(group.name, group.uid, _count(group) + 1, youngest + 1))
        healed = _healed_at(group)
        if healed is not None and group.restart is not None and now >= healed:
            found.append(Restart(group.name, group.uid, 0, group.restart.at))
    return tuple(found)


def evictions(groups: Iterable[ObservedGroup], decided: Iterable[Restart] = ()) -> tuple[tuple[str, str], ...]:
    """Return (name, uid) of the pods that a restart, noted before or just `decided`, still leaves to delete."""
    at = {restart.group: restart.at for restart in decided}
    found = []
    for group in groups:
        before = at.get(group.name, group.restart.at if group.restart else 0.0)
        found += [(pod.name, pod.uid) for pod in group.members if pod.created < before and not pod.deleting]
    return tuple(found)


def trouble(group: ObservedGroup, deadlines: Deadlines, now: float) -> Trouble | None:
    """Return why a group that does not serve will not soon; None while it serves or may still be starting."""
    if group.ready or group.lost:
        return None
    due, count = restart_due(group, deadlines), _count(group)
    spent = due is not None and now >= due and count >= BUDGET
    late = now >= late_at(group, deadlines)
    words = _words(group)
    if spent:
        words = f"restarted {count} times in vain; {words or 'its pods run, but it does not serve'}"
    elif count:
        words = f"restarted {count} of {BUDGET} times; {words or 'it does not serve yet'}"
    elif late and not words and len(group.members) < group.pods:
        words = f"{len(group.members)} of its {group.pods} pods are made: see the events of StatefulSet {group.name}"
    elif late and not words and (slow := next((pod.name for pod in group.members if pod.fetching), None)):
        more = "if it is only large or far away, raise spec.rollout.progressDeadlineSeconds"
        words = f"pod {slow} still fetches the model after {deadlines.progress:.0f} s; {more}"
    elif late and not words:
        words = f"its pods do not serve {deadlines.progress:.0f} s after they were due to start"
    hurt = _hurt(group)
    if not words or not (spent or late or count or hurt):
        return None
    return Trouble(group.name, words, count, spent, late, waits=group.waits_since is not None and not hurt)


def late_at(group: ObservedGroup, deadlines: Deadlines) -> float:
    """Return when a group that does not serve misses the progress deadline, in epoch seconds.

    A pod that something else than a restart replaced starts anew, and so does one that served before, or got its place
    late.
    """
    moments = [group.created, *(pod.unready_since or 0.0 for pod in group.members if pod.served)]
    if not _count(group):
        moments += map(_began, group.members)
    return max(moments) + deadlines.progress


def moments(groups: Iterable[ObservedGroup], deadlines: Deadlines) -> tuple[float, ...]:
    """Return when these groups must be judged again although nothing may have happened, in epoch seconds."""
    found: list[float | None] = []
    for group in groups:
        found.append(_healed_at(group))
        found += [(pod.unready_since or pod.created) + NODE_SECONDS for pod in group.members if not pod.ready]
        if not group.ready:
            found += [late_at(group, deadlines), restart_due(group, deadlines)]
    return tuple(moment for moment in found if moment is not None)


def state(group: ObservedGroup, observed: Observed) -> Literal["serving", "lost", "blinking", "starting"]:
    """Say how a group is."""
    if group.lost:
        return "lost"
    if group.ready:
        return "serving"
    until = blinking_until(group, observed)
    return "blinking" if until is not None and observed.now < until else "starting"


def _began(pod: ObservedPod) -> float:
    """A node's clock may be behind: no pod starts before it is created."""
    return max(pod.created, pod.started or 0.0)


def _prepared(pod: ObservedPod) -> float:
    """Return when its engine could start: what was fetched before that, however slowly, is not to be thrown away."""
    return max(_began(pod), pod.initialized or 0.0)


def _count(group: ObservedGroup) -> int:
    return group.restart.count if group.restart else 0


def _healed_at(group: ObservedGroup) -> float | None:
    if not _count(group) or not group.ready:
        return None
    return group.ready_since + HEALED_SECONDS


def _hurt(group: ObservedGroup) -> bool:
    """Whether a pod has a problem of its own; to wait for a place is none."""
    return any(
        (pod.problem is not None and pod.unschedulable_since is None) or _ends_often(pod) for pod in group.members
    )


def _ends_often(pod: ObservedPod) -> bool:
    return not pod.ready and pod.restarts >= (FAILING_RESTARTS if pod.served else NEVER_SERVED_RESTARTS)


def _words(group: ObservedGroup) -> str:
    for pod in group.members:
        if pod.problem:
            return f"pod {pod.name}: {pod.problem}"
    often = max(filter(_ends_often, group.members), key=lambda pod: pod.restarts, default=None)
    if often is None:
        return ""
    return f"pod {often.name}: its {'fetch' if often.fetching else 'engine'} ended {often.restarts} times"
