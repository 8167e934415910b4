"""The kopf side: one daemon per LLMDeployment, and events that wake it. No decision is made here.

Imported by `run`, which starts kopf; kopf finds the handlers in its registry.
"""

import asyncio
import logging
import os
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import kopf

from manta_operator.api import names
from manta_operator.controller.client import KubeClient, connect
from manta_operator.controller.errors import ClusterError
from manta_operator.controller.reconcile import Memory, Outcome, Reconciler
from manta_operator.controller.settings import Settings
from manta_operator.controller.wakeups import Key, Wakeups, owner_of
from manta_operator.facts.locate import locator

log = logging.getLogger(__name__)

CHILD_LABELS: dict[str, Any] = {names.LABEL_MANAGED_BY: "manta"}
RETRY_SECONDS = 5.0
"""First pause after a failure; it doubles up to the time of a resync, and starts again when the pass succeeds."""
CONNECT_SECONDS = 2.0
STOP_SECONDS = 1.0
"""How long a pass may go on when the object or the operator goes, before it is cancelled."""


def register(registry: kopf.OperatorRegistry, settings: Settings) -> None:
    """Add Manta's handlers to a kopf registry."""
    wakeups = Wakeups()
    reconcilers: list[Reconciler] = []
    _connecting(registry, settings, reconcilers)
    _waking(registry, wakeups)

    @kopf.daemon(
        names.GROUP,
        names.VERSION,
        names.PLURAL,
        registry=registry,
        id="reconcile",
        cancellation_backoff=STOP_SECONDS,
        cancellation_timeout=STOP_SECONDS,
    )
    async def reconcile(namespace: str | None, name: str, stopped: kopf.DaemonStopped, **_: Any) -> None:
        await _loop(reconcilers[0], wakeups, (namespace or "", name), settings, stopped)


def _connecting(registry: kopf.OperatorRegistry, ours: Settings, reconcilers: list[Reconciler]) -> None:
    """Make the one Reconciler at the start, and close its connections at the end."""
    stack = AsyncExitStack()

    @kopf.on.startup(registry=registry, id="startup")
    async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        _configure(settings)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="manta-")))
        reconcilers.append(Reconciler(await _connected(stack, scratch), locator(ours.host_paths)))

    @kopf.on.login(registry=registry, id="login")
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        # KUBECONFIG first, as `connect` does: in a pod of another cluster it says which one is meant.
        chosen = kopf.login_with_kubeconfig if "KUBECONFIG" in os.environ else kopf.login_via_client
        return chosen(**kwargs)

    @kopf.on.cleanup(registry=registry, id="cleanup")
    async def cleanup(**_: Any) -> None:
        await stack.aclose()


async def _connected(stack: AsyncExitStack, scratch: Path) -> KubeClient:
    """Connect, however long the API server takes: kopf itself would try again after a minute."""
    told = ""
    while True:
        try:
            return await stack.enter_async_context(connect(scratch))
        except ClusterError as error:
            if str(error) != told:
                log.warning("%s; trying again every %g s", error, CONNECT_SECONDS)
            told = str(error)
        await asyncio.sleep(CONNECT_SECONDS)


def _waking(registry: kopf.OperatorRegistry, wakeups: Wakeups) -> None:
    """Wake a daemon when its object or one of its children changes."""

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry, id="changed")
    async def changed(namespace: str | None, name: str, **_: Any) -> None:
        wakeups.wake((namespace or "", name), full=False)

    async def child(event: kopf.RawEvent, **_: Any) -> None:
        key = owner_of(event)
        if key is not None:
            wakeups.wake(key, full=event["type"] == "DELETED")

    for group, version, plural in _CHILDREN:
        kopf.on.event(group, version, plural, registry=registry, id=f"child-{plural}", labels=CHILD_LABELS)(child)


_CHILDREN = (
    ("", "v1", "pods"),
    ("", "v1", "services"),
    ("", "v1", "configmaps"),
    ("apps", "v1", "statefulsets"),
    ("apps", "v1", "deployments"),
)


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.persistence.finalizer = f"{names.GROUP}/operator"
    settings.peering.standalone = True
    settings.posting.enabled = False  # the conditions and decisions say it; kopf's own events would repeat the log
    settings.execution.max_workers = 4
    for group, _, plural in _CHILDREN:  # filtered by the API server: a cluster's other pods never reach us
        settings.watching.label_selectors[group, plural] = f"{names.LABEL_MANAGED_BY}=manta"
    # By default kopf looks whether a daemon has ended only once a minute, and a deletion waits for that.
    settings.background.instant_exit_timeout = STOP_SECONDS


async def _loop(
    reconciler: Reconciler, wakeups: Wakeups, key: Key, settings: Settings, stopped: kopf.DaemonStopped
) -> None:
    """Run passes until the object is gone. Never raises: kopf would not start a failed daemon again."""
    memory = Memory()
    wakeups.begin(key)
    full, resync, failures = True, 0.0, 0
    while not stopped:
        now = time.monotonic()
        outcome = await _pass(reconciler, key, memory, full=full or now >= resync)
        if outcome.gone:
            break
        failures = failures + 1 if outcome.retry else 0
        if not outcome.retry:
            if full or now >= resync:
                resync = now + settings.resync_seconds
            full = False
        pause = _backoff(failures, settings) if outcome.retry else resync - time.monotonic()
        full = await _wait(wakeups, key, max(0.0, pause), stopped) or full
    wakeups.forget(key)


def _backoff(failures: int, settings: Settings) -> float:
    longest = max(RETRY_SECONDS, settings.resync_seconds)
    return float(min(RETRY_SECONDS * 2.0 ** min(failures - 1, 16), longest))


async def _pass(reconciler: Reconciler, key: Key, memory: Memory, *, full: bool) -> Outcome:
    try:
        return await reconciler.run(*key, memory, full=full)
    except ClusterError as error:
        log.warning("%s/%s: %s", *key, error)
    except Exception:
        log.exception("%s/%s: a bug; the loop goes on", *key)
    return Outcome(retry=True)


async def _wait(wakeups: Wakeups, key: Key, seconds: float, stopped: kopf.DaemonStopped) -> bool:
    """Wait for a wakeup, the time or the end; return whether the next pass must be full."""
    flag = asyncio.ensure_future(wakeups.wait(key, seconds))
    stop = asyncio.ensure_future(stopped.wait())
    done, pending = await asyncio.wait({flag, stop}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return flag.result() if flag in done else False
