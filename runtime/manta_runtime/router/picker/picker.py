"""The picker and its state: its parts put together, and what they do when something is seen, heard or asked.

No servers, no tasks but those that look at engines: `run.py` starts and ends them.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import msgspec

from manta_runtime.router.asking import PICK_PREFIX
from manta_runtime.router.cache.response_cache import ResponseCache
from manta_runtime.router.config import RouterConfig
from manta_runtime.router.membership import Members
from manta_runtime.router.picker.access import Access
from manta_runtime.router.picker.answers import Picks, is_pick
from manta_runtime.router.picker.chooser import Chooser
from manta_runtime.router.picker.decide import Decider
from manta_runtime.router.picker.demand import Demand, Engines, document
from manta_runtime.router.picker.engine_client import EngineClient
from manta_runtime.router.picker.http import Answer, Question
from manta_runtime.router.picker.keys import Keyring
from manta_runtime.router.picker.ledger import Ledger
from manta_runtime.router.picker.limits import Limits
from manta_runtime.router.picker.looks import Looks, Seen
from manta_runtime.router.picker.metrics import Gauge, Metrics
from manta_runtime.router.picker.models_list import ModelsList
from manta_runtime.router.picker.parts import Parts
from manta_runtime.router.picker.polls import Polls
from manta_runtime.router.picker.scrape import Look
from manta_runtime.router.picker.tenants import Tenants
from manta_runtime.router.picker.written import Written
from manta_runtime.router.pod_watch import PodWatch

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
_STUCK_SECONDS = 10.0
_PLAIN = "text/plain; charset=utf-8"
_PROMETHEUS = "text/plain; version=1.0.0; charset=utf-8"


class Picker:
    """One picker. `ending`: it answers what is asked, but wants to be asked no more.

    `envoy`: says which version of the endpoints Envoy has; None: no Envoy of ours is sent anywhere.
    """

    def __init__(self, config: RouterConfig, run_dir: Path, envoy: EngineClient | None = None) -> None:
        self.config = config
        self.members = Members(config.engine_port)
        self.ledger = Ledger(config.max_num_seqs, config.longest_seconds)
        self.chooser = Chooser(config.policy)
        self.limits = Limits()
        self.tenants = Tenants()
        self.keyring = Keyring() if config.auth else None
        self.models = ModelsList(config.served_names, int(time.time()))
        self.demand = Demand(secrets.token_hex(8), f"{config.namespace}/{config.deployment}")
        self.engines = Engines()
        self.polls = Polls(self._demand)
        self.metrics = Metrics(self._gauges, self.demand, self._cache_results)
        self.cache = ResponseCache(config.cache.max_bytes, config.cache.ttl_seconds) if config.cache else None
        self.decider = Decider(self._parts())
        self.watch = PodWatch(self.members, config.namespace, config.selector, self._pods_changed, self._recall)
        self.looks = Looks(
            self.members, Seen(self._looked, self._silent, self.eject, self._told_models, self._restored)
        )
        self.written = Written(run_dir, self.members, envoy, self._usable_changed)
        self.ending = False
        self._picks = Picks(self.decider, self.metrics)
        self._recalled = False
        self._incarnations: dict[str, str] = {}  # replica → pod and process, of which a cache is part
        self._ticked_at = time.monotonic()
        self._served = self._questions()

    def _questions(self) -> dict[str, Callable[[], Answer | asyncio.Future[Answer]]]:
        return {
            "/readyz": self._ready,
            "/livez": self._live,
            "/metrics": lambda: Answer(200, self.metrics.render(), content_type=_PROMETHEUS),
            # The operator's question, before it takes the least loaded replica away.
            "/loads": lambda: Answer(200, msgspec.json.encode(self.ledger.by_group(self.members.names))),
            "/usage": lambda: Answer(200, msgspec.json.encode(self.limits.usage(time.monotonic()))),
            # What the operator scales by, and what wakes it while there are no replicas.
            "/demand": self._demand,
            "/demand/held": lambda: self._demand() if self.decider.held else self.polls.wait(),
        }

    def _parts(self) -> Parts:
        return Parts(
            config=self.config,
            members=self.members,
            ledger=self.ledger,
            chooser=self.chooser,
            access=Access(self.keyring, self.tenants, self.limits, self.models),
            models=self.models,
            metrics=self.metrics,
            demand=self.demand,
            eject=self.eject,
            doubt=self.doubt,
            waits=self.polls.happened,
            cache=self.cache,
        )

    def refreshers(self) -> list[partial[bool]]:
        """Reload keys and tenants if their files have changed; to be called once before serving, then every second."""
        found = [partial(self.tenants.refresh, self.config.tenants_file)]
        if self.keyring is not None:
            found.append(partial(self.keyring.refresh, self.config.keys_dir))
        return found

    def answer(self, question: Question) -> Answer | asyncio.Future[Answer]:
        """What probes, Prometheus, the operator and other routers ask, at the picker's port."""
        serve = self._served.get(question.path)
        return serve() if serve else _only(", ".join(self._served))

    def pick(self, question: Question) -> Answer | asyncio.Future[Answer]:
        """What Envoy asks, at the socket that it alone reaches."""
        return self._picks.answer(question) if is_pick(question) else _only(PICK_PREFIX)

    def is_ready(self) -> bool:
        """Ready without replicas too: someone has to hold requests, or answer the 503."""
        knows = (self.watch.synced or self._recalled) and self.written.settled
        return not self.ending and knows and self.tenants.ready

    def tick(self) -> None:
        """To be called every `TICK_SECONDS`."""
        self._ticked_at = now = time.monotonic()
        if overdue := self.ledger.overdue(now):
            self.decider.lost(overdue)
        self.decider.tick()
        self.written.again(now)

    def eject(self, replica: str) -> None:
        """A connection to it failed."""
        if self.members.eject(replica):
            log.warning("%s left out: a connection to it failed; it is asked for its health", replica)
            self.metrics.ejections[replica] += 1
            self.looks.follow()
            self.decider.members_changed()

    def doubt(self, replica: str) -> None:
        """Perhaps a connection to it failed: the next look tells, and it comes at once."""
        self.looks.soon(replica)

    def eject_address(self, address: str) -> None:
        """The same, by ip:port."""
        for endpoint in self.members.usable:
            if endpoint.address == address:
                self.eject(endpoint.name)

    def envoy_lost(self) -> None:
        """Envoy is gone, and what it had in flight."""
        self.decider.lost(self.ledger.forget_requests())

    def _restored(self, replica: str) -> None:
        if self.members.restore(replica):
            log.info("%s is back: it answers", replica)
            self.looks.follow()
            self.decider.members_changed()

    def _recall(self) -> None:
        """The API server is away: go on with the replicas that the picker before us saw last, as it would have."""
        if self._recalled or not (found := self.written.before()):
            return
        self._recalled = True
        log.warning("the API server is away: going on with the %d replicas of before the restart", len(found))
        self.members.recall(found)
        self._pods_changed()

    def _pods_changed(self) -> None:
        members = self.members
        names = members.names
        self.written.write(time.monotonic())
        for endpoint in members.all:
            self._incarnation(f"{endpoint.name} pod", endpoint.name, endpoint.uid)
        self.ledger.keep_only(names)
        self.chooser.keep_only(names)
        self.metrics.keep_only(names)
        self.engines.keep_only(names)
        self._incarnations = {key: told for key, told in self._incarnations.items() if key.partition(" ")[0] in names}
        self._usable_changed()

    def _usable_changed(self) -> None:
        self.models.keep_only(endpoint.name for endpoint in self.members.usable)
        self.looks.follow()
        self.decider.members_changed()

    def _incarnation(self, key: str, replica: str, told: str) -> None:
        """An engine that started anew has an empty cache."""
        before = self._incarnations.get(key)
        if told and before != told:
            self._incarnations[key] = told
            if before is not None:
                self.chooser.forget(replica)

    def _looked(self, replica: str, look: Look, asked_at: float) -> None:
        self._incarnation(f"{replica} process", replica, look.started)
        if look.kv_tokens:
            self.chooser.resize(replica, look.kv_tokens)
        self.ledger.observe(replica, look, asked_at)
        self.engines.looked(replica, look, asked_at)
        self.decider.wake()

    def _silent(self, replica: str) -> None:
        self.ledger.unseen(replica)
        self.engines.silent(replica)
        self.decider.wake()

    def _told_models(self, replica: str, body: bytes) -> bool:
        try:
            self.ledger.adapters(replica, self.models.learn(replica, body))
        except ValueError as error:
            log.debug("models of %s: %s", replica, error)
            self.models.tells_none(replica)
        self.decider.models_told()
        return self.models.doubts(replica)

    def _demand(self) -> Answer:
        now, usable, in_flight = time.monotonic(), self.members.usable, self.ledger.in_flight()
        told = document(
            self.demand,
            self.engines.told(usable, in_flight, now),
            in_flight=self.ledger.open,
            held=self.decider.held,
            queue_age=self.decider.queue_age(),
            usable=len(usable),
        )
        return Answer(200, msgspec.json.encode(told))

    def _ready(self) -> Answer:
        if self.is_ready():
            return Answer(200, b"ok\n", content_type=_PLAIN)
        why = "no usable file of tenants yet"
        if not (self.watch.synced or self._recalled):
            why = "the API server has not answered yet"
        elif not self.written.settled:
            why = "Envoy has not said yet that it knows the replicas"
        return Answer(503, f"{'ending' if self.ending else why}\n".encode(), content_type=_PLAIN)

    def _live(self) -> Answer:
        """That this is answered shows that the loop turns; the tick, that it gets its work done."""
        stuck = time.monotonic() - self._ticked_at
        if stuck > _STUCK_SECONDS:
            return Answer(503, f"nothing done for {stuck:.0f} s\n".encode(), content_type=_PLAIN)
        return Answer(200, b"ok\n", content_type=_PLAIN)

    def _gauges(self) -> Iterable[Gauge]:
        candidates = self.ledger.candidates(time.monotonic())
        usable, ejected = self.members.usable, self.members.ejected
        yield "manta_router_in_flight", "This router's requests in flight.", "replica", self.ledger.in_flight()
        yield (
            "manta_router_load",
            "Requests in flight, of all routers.",
            "replica",
            {c.replica: c.load for c in candidates},
        )
        yield "manta_router_held", "Requests held, of all tenants.", "", {"": len(self.decider.holding)}
        yield "manta_router_queue_length", "Requests held.", "tenant", self.decider.holding.waiting()
        yield "manta_router_replicas", "Replicas that exist.", "", {"": self.members.known}
        yield "manta_router_replicas_usable", "Replicas that may be picked.", "", {"": len(usable)}
        yield "manta_router_replicas_ejected", "Usable replicas that failed.", "", {"": len(ejected)}
        saturated = sum(c.saturated for c in candidates)
        yield "manta_router_replicas_saturated", "Usable replicas that have enough.", "", {"": saturated}
        yield "manta_router_tenant_in_flight", "Requests in, of tenants with limits.", "tenant", self.limits.running()
        if self.cache is not None:
            for name, value in (("bytes", self.cache.bytes), ("entries", self.cache.entries)):
                yield f"manta_router_cache_{name}", f"The response cache's {name}.", "", {"": value}

    def _cache_results(self) -> dict[str, int]:
        cache = self.cache
        if cache is None:
            return {}
        return {"hit": cache.hits, "miss": cache.misses, "kept": cache.kept, "evicted": cache.evictions}


def _only(served: str) -> Answer:
    return Answer(404, f"served here: {served}\n".encode(), content_type=_PLAIN)
