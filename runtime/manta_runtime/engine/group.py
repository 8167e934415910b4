"""The group of one replica, as its head sees it: who joined, who is missing, who was lost.

Pure: a frozen value and functions from value to value; the clock is an argument. control.py feeds it with joins,
head.py asks it for verdicts. A worker repeats its join every second, so a join is also its heartbeat.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from manta_runtime.engine.adapters import Copy, parse_copies

if TYPE_CHECKING:
    from collections.abc import Mapping

Stage = Literal["forming", "starting", "serving", "draining", "done"]
MemberStage = Literal["waiting", "joined", "leaving", "failed"]

_STAGES: dict[str, MemberStage] = {stage: stage for stage in get_args(MemberStage)}

MISSED_SECONDS = 2.5
"""A worker is heard of every second."""
MEETING_SECONDS = 330.0

_LONGEST = 500
"""Characters of a worker's last sentence: it is told to Kubernetes, who keeps 4 KiB."""

SILENCE_SECONDS = 20.0
"""A worker that was not heard of for this long is lost. A frozen pod is noticed by nothing else for minutes."""


@dataclass(frozen=True)
class JoinRequest:
    """What a worker says every second. `epoch` is "" until it knows the head's, `instance` its own random id.

    `why`: its last sentence when it fails. `copies`: what it has of each adapter, by key.
    """

    rank: int
    pod_ip: str
    pod_name: str
    epoch: str
    instance: str
    stage: MemberStage
    model: str = ""
    why: str = ""
    copies: Mapping[str, Copy] = field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """A worker of the group; `seen` is the head's monotonic clock at its latest join, in seconds."""

    rank: int
    pod_ip: str
    pod_name: str
    instance: str
    stage: MemberStage
    seen: float
    copies: Mapping[str, Copy] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """A group under one head. `address` is where workers connect (Ray), "" until known; `model`: the head's.

    `over`: why the head has ended it.
    """

    epoch: str
    size: int
    pod_prefix: str
    stage: Stage = "forming"
    address: str = ""
    token: str = ""
    members: tuple[Member, ...] = ()
    lost: str = ""
    model: str = ""
    over: str = ""

    @property
    def missing(self) -> tuple[int, ...]:
        """The ranks that have not joined, in order."""
        joined = {member.rank for member in self.members if member.stage != "waiting"}
        return tuple(rank for rank in range(1, self.size) if rank not in joined)

    @property
    def leaving(self) -> tuple[int, ...]:
        """The ranks whose pods are being terminated."""
        return tuple(member.rank for member in self.members if member.stage == "leaving")


@dataclass(frozen=True)
class Refusal:
    """Why a join was not accepted; `status` is the HTTP status that says so."""

    status: int
    message: str


def parse_join(body: Mapping[str, Any]) -> JoinRequest | Refusal:
    """Read the JSON of POST /group/join."""
    rank, stage = body.get("rank"), _STAGES.get(str(body.get("stage")))
    if not isinstance(rank, int) or isinstance(rank, bool):
        return Refusal(400, "rank must be a number")
    texts = {name: body.get(name, "") for name in ("podIp", "podName", "epoch", "instance", "model", "why")}
    for name, text in texts.items():
        if not isinstance(text, str):
            return Refusal(400, f"{name} must be a string")
    if stage is None:
        return Refusal(400, f"stage must be one of {', '.join(_STAGES)}")
    copies = parse_copies(body.get("adapters", {}))
    if isinstance(copies, str):
        return Refusal(400, copies)
    return JoinRequest(
        rank=rank,
        pod_ip=texts["podIp"],
        pod_name=texts["podName"],
        epoch=texts["epoch"],
        instance=texts["instance"],
        stage=stage,
        why=texts["why"],
        model=texts["model"],
        copies=copies,
    )


def join(group: Group, request: JoinRequest, now: float) -> tuple[Group, Refusal | None]:
    """Return the group after a join, and why it was refused, if it was.

    A rank that comes back as another instance after the first one had joined means that a part of the engine is
    gone: the group is lost and must start again together.
    """
    if not 1 <= request.rank < group.size:
        return group, Refusal(400, f"rank {request.rank} is not in this group of {group.size}")
    if request.epoch and request.epoch != group.epoch:
        return group, Refusal(409, f"the head started again (epoch {group.epoch}): start again and join it")
    if request.model and group.model and request.model != group.model:
        lost = (
            f"rank {request.rank} ({request.pod_name}) has model {request.model[:80]}, rank 0 has {group.model}: "
            "set spec.model.revision to a commit, and delete the pods of this group"
        )
        return replace(group, lost=group.lost or lost), Refusal(412, lost)
    known = next((member for member in group.members if member.rank == request.rank), None)
    if known and known.instance != request.instance and known.stage != "waiting":
        lost = f"rank {known.rank} ({known.pod_name}) restarted after it had joined"
        return replace(group, lost=group.lost or lost), Refusal(409, f"{lost}: the group starts again")
    if request.stage == "failed":
        # One that never knew our epoch was never a part of this group: nothing is lost with it.
        if not request.epoch:
            return group, None
        lost = f"rank {request.rank} ({request.pod_name}) ended: {request.why[:_LONGEST] or 'see its log'}"
        members = tuple(member for member in group.members if member.rank != request.rank)
        return replace(group, members=members, lost=group.lost or lost), None
    member = Member(
        request.rank, request.pod_ip, request.pod_name, request.instance, request.stage, now, request.copies
    )
    others = tuple(other for other in group.members if other.rank != request.rank)
    members = tuple(sorted((*others, member), key=lambda each: each.rank))
    return replace(group, members=members), None


def copies_of_others(group: Group) -> dict[int, Mapping[str, Copy]]:
    """Return what every rank but the head's has of the adapters, as far as it has told."""
    told = {member.rank: member.copies for member in group.members}
    return {rank: told.get(rank, {}) for rank in range(1, group.size)}


def lose_silent(group: Group, now: float) -> Group:
    """Return the group after looking at the clock: lost when a joined rank was silent for SILENCE_SECONDS."""
    for member in group.members:
        silence = now - member.seen
        if member.stage != "waiting" and silence > SILENCE_SECONDS and not group.lost:
            return replace(group, lost=f"rank {member.rank} ({member.pod_name}) has been silent for {silence:.0f} s")
    return group


def describe_silent(group: Group, now: float) -> str:
    """Return which ranks have missed some joins, as the end of a sentence about what ended; "" for none."""
    silent = [member for member in group.members if now - member.seen >= MISSED_SECONDS]
    names = ", ".join(f"rank {member.rank} ({member.pod_name})" for member in silent)
    return f"; nothing was heard of {names} for {max(now - member.seen for member in silent):.0f} s" if silent else ""


def forgive(group: Group, seconds: float) -> Group:
    """Return the group with every silence shortened: the head itself was asleep for `seconds` and heard nobody."""
    members = tuple(replace(member, seen=member.seen + seconds) for member in group.members)
    return replace(group, members=members)


def meeting_seconds(startup_seconds: float) -> float:
    """Return how long ranks wait for each other: not shorter than the longest back-off of a kubelet (300 s).

    After some crashes a pod starts that much later than the others; who gave up sooner would go into its own back-off
    while the other one waits, and they would not meet.
    """
    return max(startup_seconds, MEETING_SECONDS)


def describe_waiting(group: Group, waited: float, deadline: float) -> str:
    """Say who is missing, by rank and pod name, and how much of the time (seconds) is spent."""
    missing = group.missing
    names = ", ".join(f"{rank} ({group.pod_prefix}-{rank})" for rank in missing)
    noun = "rank" if len(missing) == 1 else "ranks"
    return (
        f"waiting for {len(missing)} of {group.size} ranks: missing {noun} {names}, {waited:.0f} s of {deadline:.0f} s"
    )


def answer_of(group: Group) -> dict[str, Any]:
    """Return the JSON a worker gets for an accepted join; the only place where the token leaves the head."""
    return {
        "epoch": group.epoch,
        "stage": group.stage,
        "over": group.over,
        "address": group.address,
        "token": group.token,
        "missing": list(group.missing),
    }


def state_of(group: Group) -> dict[str, Any]:
    """Return the JSON of GET /group: all but the token."""
    return {
        "epoch": group.epoch,
        "size": group.size,
        "stage": group.stage,
        "address": group.address,
        "missing": list(group.missing),
        "lost": group.lost,
        "members": [
            {
                "rank": member.rank,
                "podIp": member.pod_ip,
                "podName": member.pod_name,
                "stage": member.stage,
            }
            for member in group.members
        ],
    }
