"""One pass of the loop over one LLMDeployment: look at the store, decide, apply, prune, write the status.

Everything is read before anything is judged; the judging is `builders.desired` and `planning`, pure. A pass never
raises for what the API server says about children: it becomes a condition, and the next pass tries again.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pydantic

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment, parse
from manta_operator.builders.desired import Desired, desire
from manta_operator.controller.ahead import settle
from manta_operator.controller.applier import Applier
from manta_operator.controller.client import KubeClient
from manta_operator.controller.deployments import Entry, Memory
from manta_operator.controller.effects import Effects
from manta_operator.controller.errors import ClusterError, Missing, Terminating
from manta_operator.controller.facts_sources import Sources
from manta_operator.controller.inquiries import Inquiries
from manta_operator.controller.kinds import LEADING, OBSERVED, OPTIONAL
from manta_operator.controller.observing import Observer
from manta_operator.controller.rhythm import Rhythm
from manta_operator.controller.rounds import Round, gather, names_groups, situation
from manta_operator.controller.scale_losses import losses
from manta_operator.controller.scale_memory import brought
from manta_operator.controller.scaler import Scaler
from manta_operator.controller.statuses import Statuses, timestamp
from manta_operator.controller.store import Store
from manta_operator.controller.surroundings import NotYet, Surroundings, loads
from manta_operator.controller.tokens import Tokens, reported_missing
from manta_operator.controller.told import complain, tell
from manta_operator.planning.integrations import HTTP_ROUTE, OPTIONAL_KINDS, Integration, absent, unresolved
from manta_operator.planning.known import Known, asked_of
from manta_operator.planning.plan import Circumstances
from manta_operator.planning.previous import recall
from manta_operator.planning.problems import Failure, Problem
from manta_operator.planning.status import status, unreadable

Object = dict[str, Any]
log = logging.getLogger(__name__)

ROUNDS = 3
"""How often a pass looks again at what it has changed itself, so that its status tells of the world after it."""

MOMENT_SECONDS = 0.1
"""The soonest that a pass is made again for a deadline: it should be over then."""


@dataclass(frozen=True)
class Outcome:
    """How a pass ended: after how many seconds the next one is due if nothing happens.

    `deaf`: for so long not even what happens is worth a try, since the API server has asked us to wait.
    """

    pause: float = 0.0
    deaf: float = 0.0
    gone: bool = False
    """The API server has no such object, or has another one of that name; a watch will say so."""
    until: asyncio.Future[Any] | None = None
    """The pass could not go on before this has ended: then it is made anew, without a pause."""


GONE = Outcome(60.0, gone=True)
"""Looked at again all the same: an API server may err, and a watch may have missed it."""


class Reconciler:
    """Brings the cluster to what one LLMDeployment asks for, a pass at a time."""

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        sources: Sources,
        rhythm: Rhythm,
        namespace: str = names.OPERATOR_NAMESPACE,
    ) -> None:
        self._client, self._store, self._rhythm = client, store, rhythm
        self._sources = sources
        self._surroundings = Surroundings(client)
        self._observer = Observer(store, self._surroundings, namespace)
        self._applier = Applier(client, store)
        self._effects = Effects(client, store)
        self._tokens = Tokens(client, store)
        self._inquiries = Inquiries(store)
        self._scaler = Scaler(store)
        self.statuses = Statuses(client)

    async def prepare(self, entry: Entry) -> None:
        """Gather the facts, and ask the pods what only they know; before the pass, which others wait for."""
        try:
            await self._sources.read(asked_of(entry.body), entry.key)
        except Exception:  # noqa: BLE001 - the pass meets it again, and tells of it
            log.debug("%s/%s: its facts cannot be gathered ahead", *entry.key)
        await self._inquiries.ask(entry)

    async def attend(self, entry: Entry) -> None:
        """Ask the pods for as long as no pass is due, and wake the loop if that brings news."""
        await self._inquiries.keep_asking(entry)

    def leave(self, entry: Entry) -> None:
        """Stop what goes on beside the passes."""
        self._scaler.leave(entry)

    async def close(self) -> None:
        """Close the connections that are not the API server's."""
        await self._scaler.close()
        await self._inquiries.close()

    async def run(self, entry: Entry) -> Outcome:
        """Make one pass.

        Raises:
            ClusterError: the status could not be written, or it could not be made certain that the object is there.
        """
        if "deletionTimestamp" in entry.body["metadata"]:
            return GONE
        try:
            deployment = parse(entry.body)
        except pydantic.ValidationError as error:
            there = await self.statuses.write(entry, unreadable(str(error), entry.body, timestamp()))
            return Outcome(self._rhythm.resync()) if there else GONE
        if self._bereft(entry) and not await self._alive(entry):
            return GONE
        following, refused = await settle(self.statuses, entry, deployment, self._scaler.number(entry, deployment))
        if following is None:
            return GONE
        deployment, before = following, entry.status()
        known = await self._sources.last(asked_of(entry.body), entry.key)
        for _ in range(ROUNDS):
            try:
                done = await self._round(deployment, before, entry.memory, known)
            except NotYet as wait:
                return Outcome(until=wait.gathered)
            done.failures += refused
            gather(entry.memory, done)
            if not done.moved or done.failures:
                break
        complain(entry, done.failures)
        if any(isinstance(failure, Terminating) for failure in done.failures):
            return Outcome(self._rhythm.resync())  # the namespace goes, and the object with it
        return await self._conclude(entry, deployment, before, done)

    def _bereft(self, entry: Entry) -> bool:
        """Whether a child that was there is gone, which may be because the LLMDeployment is."""
        children = self._store.of(entry.key)
        return any(name not in children for name in entry.memory.applied.objects)

    async def _alive(self, entry: Entry) -> bool:
        if not await self.statuses.there(entry):
            return False
        kept = entry.memory.applied.objects
        children = self._store.of(entry.key)
        entry.memory.applied.objects = {name: kept[name] for name in kept if name in children}
        return True

    async def _round(self, deployment: LLMDeployment, before: Object, memory: Memory, known: Known) -> Round:
        observed, moment = self._observer.look(deployment), None
        if known.trouble:
            problem = Problem("spec.model.uri", known.trouble, "repair the checkpoint or name another one")
            return Round(observed, (problem,), known.trouble, model_read=False)
        decide = partial(desire, deployment, known.facts, unseen=known.why, extra=known.accelerators)
        previous = recall(deployment.spec, before)
        desired = decide(observed, previous)
        if isinstance(desired, Desired) and observed.suspects:
            observed, moment = self._observer.look_closer(deployment, observed, desired.template)
            desired = decide(observed, previous)
        if isinstance(desired, Desired) and desired.plan.wants:
            desired = decide(observed, previous, await self._ask(deployment, desired, memory))
        done = Round(observed, desired, None, known.read, look_again=moment)
        if isinstance(desired, Desired):
            await self._bring_about(deployment, desired, memory, done)
        return done

    async def _ask(self, deployment: LLMDeployment, desired: Desired, memory: Memory) -> Circumstances:
        room = busy = lost = None
        if "room" in desired.plan.wants:
            moved = self._store.moved((deployment.namespace, deployment.name))
            room = self._surroundings.room(desired.template, desired.plan.shape.pods, moved)
        if "loads" in desired.plan.wants:
            busy = await loads(self._observer.routers(deployment))
            lost = losses(memory.scale.saved, busy) if memory.scale else None
        return Circumstances(room, busy, lost)

    async def _bring_about(self, deployment: LLMDeployment, desired: Desired, memory: Memory, done: Round) -> None:
        """Write what differs; take away only if what the groups need was accepted, whatever else was refused."""
        missing = not memory.token or reported_missing(deployment, done.observed)
        tokenless = desired.plan.shape.pods > 1 and missing
        for obj in desired.objects:
            try:
                if tokenless and obj["kind"] == "StatefulSet":
                    await self._tokens.make(deployment)
                    memory.token, tokenless = True, False
                made = await self._applier.apply(obj, deployment, memory.applied)
                done.moved |= made and obj["kind"] == "StatefulSet"
            except ClusterError as error:
                self._fail(obj, error, done)
            else:
                if obj["kind"] in OPTIONAL:
                    route = done.observed.route if obj["kind"] == HTTP_ROUTE.kind else None
                    done.integrations.append(unresolved(route) if route and route.refusal else Integration(obj["kind"]))
        done.failures += await self._effects.adopt(deployment, desired)
        if done.groupless:
            return
        kept = replace(desired, keep=desired.keep or done.routeless)
        for effect in (self._effects.restart, self._effects.prune):
            moved, failures = await effect(deployment, kept)
            done.moved |= moved
            done.failures += failures

    def _fail(self, obj: Object, error: ClusterError, done: Round) -> None:
        """Note a failure; one of an optional kind stops nothing else, but that nobody is cut off by it."""
        done.routeless |= obj["kind"] in LEADING and not isinstance(error, Missing)
        if obj["kind"] not in OPTIONAL:
            done.failures.append(error)
            done.groupless |= obj["kind"] == "StatefulSet" or names_groups(obj)
            return
        kind = next(each for each in OPTIONAL_KINDS if each.kind == obj["kind"])
        failed = Integration(kind.kind, Failure(error.reason, error.message))
        done.integrations.append(absent(kind) if isinstance(error, Missing) else failed)

    async def _conclude(self, entry: Entry, deployment: LLMDeployment, before: Object, done: Round) -> Outcome:
        planned = done.desired if isinstance(done.desired, Desired) else None
        memory = entry.memory
        memory.failed = memory.failed + 1 if done.failures else 0
        outcome = self._next(entry, done, planned)
        if planned:
            self._scaler.watch(entry, brought(deployment.spec, planned.plan, done.observed))
        else:
            self._scaler.hold(entry)
        kinds = {obj["kind"] for obj in planned.objects} - set(OPTIONAL) | OBSERVED if planned else OBSERVED
        unseen = self._store.troubles(kinds, deployment.namespace)
        next_try = timestamp(time.time() + outcome.pause) if done.failures else None
        judged = situation(entry, deployment, done, unseen, next_try)
        tell(entry, judged)
        there = await self.statuses.write(entry, status(deployment, judged, before, timestamp()))
        memory.decided = ()
        return outcome if there else GONE

    def _next(self, entry: Entry, done: Round, planned: Desired | None) -> Outcome:
        if done.failures:
            asked = max(failure.retry_after or 0.0 for failure in done.failures)
            return Outcome(self._rhythm.retry(entry.memory.failed, asked), deaf=asked)
        if done.moved:
            return Outcome(0.0)
        due = [self._rhythm.resync(), done.look_again, entry.memory.step_in]
        due += [planned.plan.again_in, planned.again_in] if planned else []
        return Outcome(max(MOMENT_SECONDS, min(seconds for seconds in due if seconds is not None)))
