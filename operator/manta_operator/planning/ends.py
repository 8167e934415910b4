"""Which engines ended by themselves, and whose end it was that ended the group. Pure.

The pods of a group end together: one has a cause, and the others say that they go with it (GROUP_OVER). One end of a
group is told, that of the pod with the cause; where all went with somebody (the head was killed, and could not say
why), the first, after it has been waited for the others.

    ends of a group   those within TOGETHER_SECONDS of its latest
    told              the first of them that failed by itself, else the first, SETTLED_SECONDS later

An engine that was stopped in order (code 0) did not fail, nor did those that then went with it: nothing is told.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from manta_operator.planning.last_words import killed_words
from manta_operator.planning.observed import EngineEnd, ObservedGroup, ObservedPod

GROUP_OVER = 11
"""Exit code of the launcher whose group was ended by another pod; `tests/contract` holds both sides equal."""
CODES: Mapping[int, str] = {
    10: "hung",
    GROUP_OVER: "went with its group",
    12: "frozen",
    13: "too late",
    14: "requests cut off",
}
"""What codes mean, in few words, where the engine could say nothing itself."""
TOGETHER_SECONDS = 60.0
SETTLED_SECONDS = 20.0
_MOST = 64
_LIMIT = 512


def ends(groups: Iterable[ObservedGroup], now: float) -> list[dict[str, Any]]:
    """Return the entries of `status.engineEnds`: the latest end of each group that had one, by name."""
    found = []
    for group in groups:
        told = _told(group, now)
        if told is not None:
            pod, end = told
            found.append(
                {
                    "replica": group.name,
                    "pod": pod.name,
                    "exitCode": end.code,
                    "message": describe(end)[:_LIMIT],
                    "time": datetime.fromtimestamp(end.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
            )
    return sorted(found, key=lambda entry: str(entry["replica"]))[:_MOST]


def describe(end: EngineEnd) -> str:
    """Return what there is to say of an end, without its code."""
    if killed := killed_words(end.code, end.reason, end.said):
        return killed
    return end.said or (end.reason if end.reason not in ("", "Error") else CODES.get(end.code, "it said nothing"))


def ended(pod: ObservedPod) -> str:
    """Return a sentence about a pod that starts anew after its engine ended; "" for all others."""
    if pod.ready or pod.problem or pod.end is None:
        return ""
    return f"pod {pod.name} starts again, its engine ended with code {pod.end.code}: {describe(pod.end)}"


def _told(group: ObservedGroup, now: float) -> tuple[ObservedPod, EngineEnd] | None:
    ended = [(pod, pod.end) for pod in group.members if pod.end is not None and not pod.deleting]
    if not ended:
        return None
    latest = max(end.at for _, end in ended)
    together = sorted(
        ((pod, end) for pod, end in ended if latest - end.at <= TOGETHER_SECONDS), key=lambda each: each[1].at
    )
    cause = next((each for each in together if each[1].code not in (0, GROUP_OVER)), None)
    if cause is not None or any(end.code == 0 for _, end in together):
        return cause
    return together[0] if now - latest >= SETTLED_SECONDS else None
