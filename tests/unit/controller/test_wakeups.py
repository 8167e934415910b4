"""Flags that wake the daemons, and the rhythm of the loop they wake."""

import asyncio

import pytest

from manta_operator.controller.errors import Transient
from manta_operator.controller.handlers import _loop
from manta_operator.controller.reconcile import Outcome
from manta_operator.controller.settings import Settings
from manta_operator.controller.wakeups import Wakeups, owner_of

KEY = ("prod", "demo")


@pytest.mark.parametrize(("asked", "full"), [([False], False), ([True], True), ([True, False], True)])
async def test_one_wait_collects_all_flags(asked, full):
    wakeups = Wakeups()
    wakeups.begin(KEY)
    for each in asked:
        wakeups.wake(KEY, full=each)
    assert await wakeups.wait(KEY, 5) is full
    assert await wakeups.wait(KEY, 0.01) is False, "the flag was raised once"


async def test_a_flag_raised_for_another_does_not_wake():
    wakeups = Wakeups()
    wakeups.begin(KEY)
    wakeups.begin(("prod", "other"))
    wakeups.wake(("prod", "other"), full=True)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wakeups.wait(KEY, 5), 0.05)


async def test_forgotten_flags_are_gone():
    wakeups = Wakeups()
    wakeups.begin(KEY)
    wakeups.wake(KEY, full=True)
    wakeups.forget(KEY)
    wakeups.wake(KEY, full=True)  # its children are deleted after it
    wakeups.begin(KEY)
    assert await wakeups.wait(KEY, 0.01) is False


@pytest.mark.parametrize(
    ("labels", "key"),
    [({"manta.dev/deployment": "demo"}, KEY), ({}, None), (None, None)],
)
def test_owner_of(labels, key):
    assert owner_of({"object": {"metadata": {"namespace": "prod", "labels": labels}}}) == key


class Passes:
    """A reconciler that notes whether its passes were full, and ends after the last of its outcomes."""

    def __init__(self, *outcomes):
        self.full, self._outcomes = [], list(outcomes)

    async def run(self, namespace, name, memory, *, full):
        self.full.append(full)
        outcome = self._outcomes.pop(0) if self._outcomes else Outcome(gone=True)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Stopped(asyncio.Event):
    def __bool__(self):
        return self.is_set()


async def passes(reconciler, wakeups, resync_seconds):
    await asyncio.wait_for(_loop(reconciler, wakeups, KEY, Settings(resync_seconds=resync_seconds), Stopped()), 5)
    return reconciler.full


async def test_the_first_pass_is_full_and_a_woken_one_is_not():
    wakeups = Wakeups()
    wakeups.begin(KEY)
    wakeups.wake(KEY, full=False)
    assert await passes(Passes(Outcome()), wakeups, 60) == [True, False]


async def test_a_quiet_wait_ends_in_a_full_pass():
    assert await passes(Passes(Outcome()), Wakeups(), 0.05) == [True, True]


async def test_drift_is_looked_for_in_time_though_something_always_happens():
    wakeups = Wakeups()

    class Busy(Passes):
        async def run(self, *args, **kwargs):
            await asyncio.sleep(0.02)
            wakeups.wake(KEY, full=False)
            return await super().run(*args, **kwargs)

    full = await passes(Busy(*[Outcome()] * 12), wakeups, 0.1)
    assert full[:2] == [True, False]
    assert 2 <= sum(full) <= 5


@pytest.mark.parametrize("trouble", [Transient("the API server is away"), RuntimeError("a bug")])
async def test_a_failed_full_pass_is_made_again_as_a_full_one(trouble, monkeypatch, caplog):
    monkeypatch.setattr("manta_operator.controller.handlers.RETRY_SECONDS", 0.01)
    assert await passes(Passes(trouble, Outcome(retry=True)), Wakeups(), 60) == [True, True, True]
    assert str(trouble) in caplog.text
