"""GET /adapters of a head's control port, and its adapters' metrics: what adapters_keeper.py knows. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manta_runtime.engine.adapters import Seen
    from manta_runtime.engine.adapters_keeper import AdapterKeeper


def adapter_routes(keeper: AdapterKeeper) -> list[web.RouteDef]:
    """Return the routes for the control server."""

    async def adapters(_: web.Request) -> web.Response:
        return web.json_response(adapters_json(keeper))

    return [web.get("/adapters", adapters)]


def adapters_json(keeper: AdapterKeeper) -> dict[str, Any]:
    """Return the JSON of GET /adapters; docs/observability.md says what each key means."""
    return {"hash": keeper.copies.wanted.hash, "adapters": [_one(seen) for seen in keeper.seen()]}


def _one(seen: Seen) -> dict[str, Any]:
    return {
        "name": seen.name,
        "uri": seen.uri,
        "revision": seen.revision or None,
        "state": seen.state,
        "message": seen.message,
        "bytes": seen.bytes,
        "total": seen.total,
    }


class AdapterMetrics(Collector):
    """The `manta_engine_adapter_*` metrics of a head."""

    def __init__(self, keeper: AdapterKeeper) -> None:
        self._keeper = keeper

    def collect(self) -> Iterable[Metric]:
        """Return all of them as they are now; none where no adapters were asked for."""
        if not self._keeper.copies.asked_for:
            return
        loaded = GaugeMetricFamily("manta_engine_adapter_loaded", "1 for an adapter that serves.", labels=["adapter"])
        for seen in self._keeper.seen():
            if seen.state != "Unloading":
                loaded.add_metric([seen.name], float(seen.state == "Loaded"))
        yield loaded
        loads = CounterMetricFamily(
            "manta_engine_adapter_loads", "Loads of adapters since this launcher started.", labels=["result"]
        )
        for result, count in self._keeper.loads.items():
            loads.add_metric([result], count)
        yield loads
