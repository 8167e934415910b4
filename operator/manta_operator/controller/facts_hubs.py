"""What hubs say of models, asked in the background and remembered: a pass never waits for the network.

    read       of a commit: good for as long as the process runs; of a branch: read again after some hours
    refused    asked again after minutes, then hours: licences get accepted, tokens repaired
    away       nobody can connect to the hub: it is left alone for a while, whatever the model

A model that is slow, or whose files are where nobody can get them, is refused: its hub is not to blame. One task for
each model, a few reads at a time. Only hubs that somebody has allowed are asked: `spec.model.endpoint` is a user's, and
the operator reaches hosts that users do not.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace

import aiohttp

from manta_operator.controller import facts_hub, metrics
from manta_operator.controller.children import Key
from manta_operator.controller.facts_http import Away, Refused
from manta_operator.controller.facts_hub import Question
from manta_operator.planning.known import Asked, Known

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 15.0
"""How long the first pass of a new model waits for its facts: a shape is not changed by what is known later."""
SOON_SECONDS = 60.0
REFUSED_SECONDS = 600.0
LONGEST_SECONDS = 3600.0
AGAIN_SECONDS = 6 * 3600.0
"""How long the facts of a branch are good."""
UNWANTED_SECONDS = 3 * 3600.0
"""After so long without a pass that asks, a model is forgotten."""
MOST = 1000
EVICTED_SECONDS = 900.0
"""If there are so many, one for which nobody has asked for so long makes room: passes ask each ten minutes."""
READS_AT_ONCE = 4

TokenOf = Callable[[str, str], Awaitable[str]]
"""From a namespace and the name of a Secret to the token in it; raises Refused."""


@dataclass
class _Model:
    """One model that passes ask about."""

    about: Question
    asked: Asked
    began: float
    wanted: float
    known: Known = field(default_factory=lambda: Known(why="its hub has not answered yet"))
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: set[Key] = field(default_factory=set)
    """Deployments that are woken by news."""
    task: "asyncio.Task[None] | None" = None


class Hubs:
    """Asks the hubs at `addresses`; the first of them where a model names none.

    Args:
        client: A session of `facts_http.session`.
        addresses: The hubs that may be asked.
        wake: Called with each deployment for which there is news.
        token_of: Reads tokens; None: the operator reads no Secrets.
    """

    def __init__(
        self,
        client: aiohttp.ClientSession,
        addresses: Collection[str],
        wake: Callable[[Key], None],
        token_of: TokenOf | None = None,
    ) -> None:
        self._client, self._wake, self._token_of = client, wake, token_of
        self._addresses = [address.rstrip("/") for address in addresses]
        self._models: dict[tuple[Question, str, str | None], _Model] = {}
        self._away: dict[str, tuple[float, int, str]] = {}
        """By address: until when it is left alone, how often in a row it was away, and what was said."""
        self._turn = asyncio.Semaphore(READS_AT_ONCE)

    async def read(self, asked: Asked, key: Key) -> None:
        """See to it that a model is asked about, and wait for the first answer for a little while."""
        model = self._model(asked, key)
        if model is None or model.answered.is_set():
            return
        patience = model.began + PATIENCE_SECONDS - time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, patience)):
                await model.answered.wait()

    def known(self, asked: Asked, key: Key | None = None) -> Known:
        """Return what is known now; with `key`, that deployment is woken when there is more."""
        about = self._about(asked)
        if isinstance(about, Known):
            return about
        model = self._model(asked, key) if key else self._models.get(_id(about, asked))
        return model.known if model else Known(why="its hub has not been asked yet")

    async def close(self) -> None:
        """End every read."""
        tasks = {model.task for model in self._models.values() if model.task}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _about(self, asked: Asked) -> Question | Known:
        endpoint = (asked.endpoint or self._addresses[0]).rstrip("/")
        about = facts_hub.question(asked.uri, asked.revision, endpoint)
        if about is None:
            return Known()
        if endpoint not in self._addresses:
            return Known(why=f"{endpoint} is not among the hubs that the operator may ask (--hub)")
        return about

    def _model(self, asked: Asked, key: Key | None) -> _Model | None:
        about, now = self._about(asked), time.monotonic()
        if isinstance(about, Known):
            return None
        found = self._models.get(_id(about, asked))
        if found is None:
            if len(self._models) >= MOST and not self._evict(now):
                return None
            found = self._models[_id(about, asked)] = _Model(about, asked, now, now)
            found.task = asyncio.create_task(self._keep(found))
        found.wanted = now
        if key:
            found.waiting.add(key)
        return found

    def _evict(self, now: float) -> bool:
        """Forget the model that nobody has asked about for the longest time; return whether there is room now."""
        last = min(self._models.values(), key=lambda model: model.wanted)
        if now - last.wanted < EVICTED_SECONDS:
            return False
        del self._models[_id(last.about, last.asked)]
        if last.task:
            last.task.cancel()
        return True

    async def _keep(self, model: _Model) -> None:
        """Ask, and ask again when it is due, until nobody wants to know."""
        failures = 0
        try:
            while time.monotonic() - model.wanted < UNWANTED_SECONDS:
                before = model.known
                failures, pause = await self._try(model, failures)
                model.answered.set()
                if model.known != before:
                    self._tell(model)
                await asyncio.sleep(pause * random.uniform(1.0, 1.2))  # noqa: S311 - spreads load
        finally:
            if self._models.get(_id(model.about, model.asked)) is model:  # and not one that came after it
                del self._models[_id(model.about, model.asked)]

    def _tell(self, model: _Model) -> None:
        waiting, model.waiting = model.waiting, set()
        for key in waiting:
            self._wake(key)

    async def _try(self, model: _Model, failures: int) -> tuple[int, float]:
        """Ask once; return the failures in a row and the seconds until it is due again."""
        about = model.about
        try:
            async with self._turn:
                found = await self._ask(model)
        except Refused as error:
            known = _refusal(model.asked, about, error, reads_secrets=self._token_of is not None)
            metrics.hub_read("away" if isinstance(error, Away) else "refused")
            if model.known.facts is None:  # else what was read once stands
                model.known = known
            first = SOON_SECONDS if error.passing else REFUSED_SECONDS
            pause = min(first * 2.0 ** min(failures, 8), LONGEST_SECONDS)
            return failures + 1, max(pause, error.retry_after or 0.0, self._left(about.endpoint))
        except Exception:
            log.exception("reading %s from %s failed, which is a bug", about.repository, about.endpoint)
            model.known = Known(why="reading it from its hub failed, which is a bug; the operator's log has more")
            return failures + 1, LONGEST_SECONDS
        metrics.hub_read("read")
        at = f" at {found.commit[:12]}" if found.commit else ""
        model.known = Known(found.facts, f"{about.endpoint}, {about.repository}{at}", found.note)
        pinned = found.commit and found.commit == about.revision
        return 0, 100 * AGAIN_SECONDS if pinned else AGAIN_SECONDS

    async def _ask(self, model: _Model) -> facts_hub.Found:
        endpoint = model.about.endpoint
        until, _, said = self._away.get(endpoint, (0.0, 0, ""))
        if time.monotonic() < until:
            raise Away(said)
        token = ""
        if self._token_of and model.asked.secret:
            token = await self._token_of(model.asked.namespace, model.asked.secret)
        try:
            found = await facts_hub.ask(self._client, model.about, token)
        except Away as error:
            until, times, _ = self._away.get(endpoint, (0.0, 0, ""))
            if time.monotonic() < until:
                raise  # another read has found out meanwhile
            pause = min(SOON_SECONDS * 2.0 ** min(times, 8), LONGEST_SECONDS)
            self._away[endpoint] = (time.monotonic() + pause, times + 1, str(error))
            if not times:
                log.warning("%s; of models that are in no catalog the fit is not known", error)
            raise
        except Refused:
            self._back(endpoint)
            raise
        self._back(endpoint)
        return found

    def _back(self, endpoint: str) -> None:
        if self._away.pop(endpoint, None):
            log.info("%s answers again", endpoint)

    def _left(self, endpoint: str) -> float:
        return max(0.0, self._away.get(endpoint, (0.0, 0, ""))[0] - time.monotonic())


def _id(about: Question, asked: Asked) -> tuple[Question, str, str | None]:
    """Tell models apart; what one namespace may read with its token is nothing for the others."""
    return (about, asked.namespace if asked.secret else "", asked.secret)


def _refusal(asked: Asked, about: Question, error: Refused, *, reads_secrets: bool) -> Known:
    return replace(refused(about, error), why=f"{refused(about, error).why}{_unread(asked, error, reads_secrets)}")


def _unread(asked: Asked, error: Refused, reads_secrets: bool) -> str:
    if error.status not in (401, 403, 404) or not asked.secret or reads_secrets:
        return ""
    return f"; it was asked without the token of Secret {asked.secret}, for the operator reads no Secrets"


def refused(about: Question, error: Refused) -> Known:
    """Say why a hub gives no facts."""
    meaning = {
        401: ", as for a model that is private, gated or not there",
        403: ", as for a gated model whose licence the token's account has not accepted",
        404: f": it has no {about.repository} at {about.revision}, or no config.json in it",
        429: ": it is asked too often",
    }.get(error.status or 0, "")
    return Known(why=f"{error}{meaning}")
