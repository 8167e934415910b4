"""What a run came to: how many requests were answered in time, and what it cost. Pure.

in time     first token within `base` + `stretch` x the time its prefill takes alone, and the last token within that
            + `between` x (tokens of the answer)
GPU-hours   from asking for a replica to the end of its draining, times the GPUs of a replica
reaction    mean length of the times in which fewer replicas were asked for than the arriving work fills
"""

from collections.abc import Sequence
from dataclasses import dataclass

from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.replica import Job, Replica
from manta_operator.scaling.simulation.trace import Request


@dataclass(frozen=True)
class Slo:
    """What users expect; seconds. `objective`: the share of requests of which it must be true.

    The first token of a long prompt takes longer, so the limit grows with the prefill; the last token has a deadline
    (first token's limit and so much a token), for what a user feels is when the answer is there.
    """

    base: float = 5.0
    stretch: float = 2.0
    between: float = 0.1
    objective: float = 0.99

    def first_limit(self, request: Request, model: EngineModel) -> float:
        """Return by when the first token must be there (s after arrival)."""
        return self.base + self.stretch * model.prefill(request.prompt_tokens)

    def met(self, job: Job, model: EngineModel) -> bool:
        """Whether the request was answered in time."""
        if job.ended < 0:
            return False
        limit = self.first_limit(job.request, model)
        took = job.ended - job.request.at
        return job.first - job.request.at <= limit and took <= limit + self.between * job.request.output_tokens


@dataclass(frozen=True, slots=True)
class Moment:
    """The fleet after a decision: replicas asked for, ready, and in all (starting and draining too); requests held."""

    at: float
    asked: int
    ready: int
    total: int
    held: int


@dataclass(frozen=True)
class Outcome:
    """`jobs`: those that came after `begin` (s); `end`: the last arrival. `refused`: no engine could hold them.

    `cut`: of all, those that were not finished when their replica had drained for as long as it may: missed.
    """

    jobs: tuple[Job, ...]
    replicas: tuple[Replica, ...]
    moments: tuple[Moment, ...]
    begin: float
    end: float
    refused: int
    cut: int = 0

    def attainment(self, slo: Slo, model: EngineModel) -> float:
        """Return the share of the requests that were answered in time; 1 where there were none."""
        if not self.jobs:
            return 1.0
        return sum(slo.met(job, model) for job in self.jobs) / len(self.jobs)

    def replica_hours(self) -> float:
        """Return the hours of all replicas between `begin` and `end`, from asking for them to their last answer."""
        seconds = 0.0
        for replica in self.replicas:
            stopped = self.end if replica.stopped_at < 0 else min(self.end, replica.stopped_at)
            seconds += max(0.0, stopped - max(self.begin, replica.started_at))
        return seconds / 3600


def reaction(moments: Sequence[Moment], load: Sequence[float], bin_seconds: float, begin: float) -> float:
    """Return how long it takes until enough is asked for (s): the mean over the times in which too little was.

    Args:
        moments: Of a run, in order.
        load: Replicas that the arriving work fills entirely, in bins from 0.
        bin_seconds: Length of a bin.
        begin: When counting begins (s).
    """
    lengths, length, step = [], 0.0, 0.0
    for index, moment in enumerate(moments):
        if moment.at < begin or moment.at >= len(load) * bin_seconds:
            continue
        step = moments[index + 1].at - moment.at if index + 1 < len(moments) else step
        if moment.asked < load[int(moment.at // bin_seconds)]:
            length += step
        elif length:
            lengths.append(length)
            length = 0.0
    if length:
        lengths.append(length)
    return sum(lengths) / len(lengths) if lengths else 0.0
