"""GET /status, /facts and /metrics of the control port: what the journal and the pod know, for people and Prometheus.

Reads only; control.py serves it. The metrics are put into Prometheus' form when they are asked for.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from manta_runtime.engine.phases import PHASES, seconds_by_phase, timeline_json
from manta_runtime.engine.vllm_words import facts_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from manta_runtime.engine.journal import Journal
    from manta_runtime.engine.readiness import Verdict

_CONTENT = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


class Told(Protocol):
    """What is asked of a head or a worker."""

    def readiness(self) -> Verdict:
        """Return whether the pod is ready, and why."""

    def ranks(self) -> tuple[int, int]:
        """Return how many ranks of the group are present and missing, as far as this pod knows."""


def telling_routes(pod: Told, journal: Journal, *more: Collector) -> list[web.RouteDef]:
    """Return the routes for the control server; `more` metrics are told beside the pod's own."""
    registry = CollectorRegistry()
    for collector in (EngineMetrics(pod, journal), *more):
        registry.register(collector)

    async def status(_: web.Request) -> web.Response:
        return web.json_response(status_json(pod, journal, time.monotonic()))

    async def facts(_: web.Request) -> web.Response:
        return web.json_response({"modelRevision": journal.model or None, **facts_json(journal.facts)})

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers=_CONTENT)

    return [web.get("/status", status), web.get("/facts", facts), web.get("/metrics", metrics)]


def status_json(pod: Told, journal: Journal, now: float) -> dict[str, Any]:
    """Return the JSON of GET /status; docs/observability.md says what each key means."""
    verdict = pod.readiness()
    present, missing = pod.ranks()
    past = journal.past
    return {
        "group": journal.place.group,
        "rank": journal.place.rank,
        "pod": journal.place.pod,
        "phase": journal.phase or None,
        "phases": timeline_json(journal.timeline, now),
        "ready": verdict.ready,
        "message": verdict.message,
        "ranksPresent": present,
        "ranksMissing": missing,
        "restarts": past.restarts if past else None,
        "lastEnd": (past.last_end or None) if past else None,
        "stalls": journal.stalls,
        "drains": journal.drains,
        "drainSeconds": journal.drain_seconds,
        "inFlight": journal.in_flight,
        "cutOff": journal.cut_off,
    }


class EngineMetrics(Collector):
    """The `manta_engine_*` metrics of one pod."""

    def __init__(self, pod: Told, journal: Journal) -> None:
        self._pod = pod
        self._journal = journal

    def collect(self) -> Iterable[Metric]:
        """Return all of them as they are now."""
        yield from self._phases()
        yield from self._group()
        yield from self._drain()

    def _phases(self) -> Iterator[Metric]:
        journal = self._journal
        seconds = GaugeMetricFamily(
            "manta_engine_phase_seconds", "How long each phase has taken, the current one until now.", labels=["phase"]
        )
        for phase, took in seconds_by_phase(journal.timeline, time.monotonic()).items():
            seconds.add_metric([phase], took)
        yield seconds
        current = GaugeMetricFamily("manta_engine_phase", "1 for the phase this pod is in.", labels=["phase"])
        for phase in PHASES:
            current.add_metric([phase], float(phase == journal.phase))
        yield current
        reported = GaugeMetricFamily(
            "manta_engine_step_seconds", "How long steps of its start took by vLLM's own account.", labels=["step"]
        )
        for step, took in journal.facts.seconds.items():
            reported.add_metric([step], took)
        yield reported

    def _group(self) -> Iterator[Metric]:
        present, missing = self._pod.ranks()
        yield GaugeMetricFamily(
            "manta_engine_ready", "1 while this pod is ready.", value=float(self._pod.readiness().ready)
        )
        yield GaugeMetricFamily("manta_engine_ranks_present", "Ranks that have joined, this one too.", value=present)
        yield GaugeMetricFamily("manta_engine_ranks_missing", "Ranks that are waited for.", value=missing)
        if self._journal.past:
            yield CounterMetricFamily(
                "manta_engine_restarts",
                "Starts of this pod's launcher after its first, each with its whole group.",
                value=self._journal.past.restarts,
            )
        yield CounterMetricFamily(
            "manta_engine_stalls", "Times that requests waited without progress of vLLM.", value=self._journal.stalls
        )

    def _drain(self) -> Iterator[Metric]:
        journal = self._journal
        yield CounterMetricFamily("manta_engine_drains", "Drains begun by this launcher.", value=journal.drains)
        if journal.drain_seconds is not None:
            yield GaugeMetricFamily(
                "manta_engine_drain_seconds", "How long the drain has taken so far.", value=journal.drain_seconds
            )
        if journal.in_flight is not None:
            yield GaugeMetricFamily(
                "manta_engine_drain_in_flight", "Requests that the drain waits for.", value=journal.in_flight
            )
        yield CounterMetricFamily(
            "manta_engine_drain_cut_off", "Requests left at the deadline, and cut off.", value=journal.cut_off
        )
