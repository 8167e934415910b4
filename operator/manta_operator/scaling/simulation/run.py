"""The simulation: a trace, a policy that is asked at its interval, and a fleet, in virtual time. Pure, deterministic.

Events in order of time: ends of engine steps, replicas that become ready, or have drained for long enough, the policy's
moments; arrivals between them. The run goes on after the last arrival until every request has ended or was cut off, but
what is counted ends with the trace.
"""

import heapq
from collections.abc import Callable
from typing import Any

from manta_operator.scaling.simulation.fleet import Fleet, Setup
from manta_operator.scaling.simulation.gauges import LATE_SECONDS, Gauges
from manta_operator.scaling.simulation.outcome import Moment, Outcome
from manta_operator.scaling.simulation.policies.base import Policy
from manta_operator.scaling.simulation.replica import Job, Replica
from manta_operator.scaling.simulation.trace import Trace

_STEP, _READY, _TICK, _DRAINED, _LOOK = 0, 1, 2, 3, 4
_GIVE_UP_SECONDS = 7200.0
"""After the trace: a policy that keeps nothing running lets requests wait for ever; they count as missed."""

Make = Callable[[Setup], Policy]


def run(trace: Trace, make: Make, setup: Setup, begin: float = 0.0) -> Outcome:
    """Let every request of the trace come at its time, and the policy decide at its interval.

    Args:
        trace: In order of time; requests that no engine can hold are left out, as vLLM refuses them.
        make: Makes the policy.
        setup: Engine, cold start, bounds, replicas at first.
        begin: When counting begins (s): what comes before is the past that policies learn from.
    """
    return _Run(trace, make(setup), setup).play(begin)


class _Run:
    def __init__(self, trace: Trace, policy: Policy, setup: Setup) -> None:
        self.policy = policy
        self.fleet = Fleet(setup)
        self.gauges = Gauges(self.fleet)
        self.requests = [request for request in trace if setup.model.fits(request)]
        self.refused = len(trace) - len(self.requests)
        self.jobs: list[Job] = []
        self.moments: list[Moment] = []
        self._events: list[tuple[float, int, int, Any]] = []
        self._order = 0
        self._left = len(self.requests)
        self._over = False

    def play(self, begin: float) -> Outcome:
        end = self.requests[-1].at if self.requests else 0.0
        self._at(0.0, _TICK, None)
        for request in self.requests:
            self._until(request.at)
            job = Job(request, len(self.jobs))
            self.jobs.append(job)
            self.gauges.arrived(job)
            self._send(job, request.at)
        self._until(end)
        while self._left and self._events and self._events[0][0] < end + _GIVE_UP_SECONDS:
            self._until(self._events[0][0])
        counted = [job for job in self.jobs if job.request.at >= begin]
        every, moments = tuple(self.fleet.every()), tuple(self.moments)
        return Outcome(tuple(counted), every, moments, begin, end, self.refused, self.fleet.cut)

    def _send(self, job: Job, now: float) -> None:
        replica = None if self.fleet.held else self.fleet.choose()
        if replica is None:
            self.fleet.held.append(job)
            return
        replica.submit(job, now)
        self._watch(replica)

    def _let_go(self, now: float) -> None:
        held = self.fleet.held
        while held and (replica := self.fleet.choose()) is not None:
            replica.submit(held.popleft(), now)
            self._watch(replica)

    def _until(self, now: float) -> None:
        events = self._events
        while events and events[0][0] <= now:
            at, _, kind, what = heapq.heappop(events)
            if kind == _STEP:
                self._step(what, at)
            elif kind == _READY:
                self.fleet.ready(what)
                self._let_go(at)
            elif kind == _DRAINED:
                self._left -= sum(replica.in_flight for replica in self.fleet.late(at))
            elif kind == _LOOK:
                self.gauges.look()
            else:
                self._tick(at)

    def _step(self, replica: Replica, at: float) -> None:
        if replica.due != at:
            return  # The steps were cut short by an arrival; another event tells their end.
        ended = replica.advance()
        if ended:
            self._left -= len(ended)
            self.gauges.ended(ended)
            self.fleet.ended(replica, at)
        self._watch(replica)
        if self.fleet.held:
            self._let_go(at)

    def _tick(self, at: float) -> None:
        setup, fleet = self.fleet.setup, self.fleet
        signals = self.gauges.read(at)
        wanted = min(setup.most, max(setup.least, self.policy.decide(signals)))
        for replica in fleet.ask(wanted, at):
            self._at(replica.ready_at, _READY, replica)
        if fleet.draining and fleet.draining[-1].drained_at == at:
            self._at(at + setup.drain, _DRAINED, None)
        total = len(fleet.serving) + len(fleet.starting) + len(fleet.draining)
        self.moments.append(Moment(at, wanted, len(fleet.serving), total, len(fleet.held)))
        interval = self.policy.interval
        self._at(at + max(0.0, interval - LATE_SECONDS), _LOOK, None)
        self._at(at + interval, _TICK, None)

    def _watch(self, replica: Replica) -> None:
        if replica.due >= 0:
            self._at(replica.due, _STEP, replica)

    def _at(self, at: float, kind: int, what: object) -> None:
        self._order += 1
        heapq.heappush(self._events, (at, self._order, kind, what))
