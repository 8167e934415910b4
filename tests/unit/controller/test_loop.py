"""The rhythm of the loop, and that nothing ends it but the end of the LLMDeployment."""

import asyncio

import pytest
from one_deployment import KEY, OneDeployment

from manta_operator.controller import loop as loops
from manta_operator.controller.errors import Conflict, Forbidden, Missing, Transient
from manta_operator.controller.loop import Loop
from manta_operator.controller.reconcile import Outcome
from manta_operator.controller.rhythm import Rhythm


class Passes:
    """A reconciler whose passes end as it is told, and with the last the LLMDeployment goes."""

    def __init__(self, *outcomes):
        self._outcomes, self.made, self.reports = list(outcomes), 0, []
        self.left = 0
        self.statuses = self

    async def prepare(self, entry):
        pass

    async def attend(self, entry):
        pass

    def leave(self, entry):
        self.left += 1

    async def run(self, entry):
        self.made += 1
        if not self._outcomes:
            entry.end()
            return Outcome()
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def report(self, entry, reason, message):
        self.reports.append((reason, message))


@pytest.fixture
def one(monkeypatch):
    monkeypatch.setattr(loops, "COLLECT_SECONDS", 0)
    one = OneDeployment()
    one.hear()
    return one


async def run(one, passes, monkeypatch=None, resync=600):
    loop = Loop(passes, one.store, Rhythm(resync))
    await asyncio.wait_for(loop.run(one.deployments.get(KEY)), 5)
    return passes.made


async def until(condition):
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within 2 s")


async def test_a_pass_is_made_when_it_is_due_or_when_something_happens(one):
    passes = Passes(Outcome(0.02), Outcome(3600))
    task = asyncio.create_task(run(one, passes))
    await asyncio.sleep(0.1)
    assert passes.made == 2
    one.deployments.wake(KEY)
    await task
    assert passes.made == 3


async def test_what_goes_on_beside_the_passes_ends_with_the_loop(one):
    passes = Passes(Outcome(0.01), Outcome(3600))
    task = asyncio.create_task(run(one, passes))
    await until(lambda: passes.made == 2)
    assert passes.left == 0, "it goes on between passes"
    one.deployments.forget(one.deployments.get(KEY).body)
    await task
    assert passes.left == 1
    passes = Passes(Outcome(3600))
    one.hear()
    task = asyncio.create_task(run(one, passes))
    await until(lambda: passes.made)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert passes.left == 1, "also when the operator ends"


async def test_what_happens_during_a_pass_is_judged_by_the_next(one):
    class Busy(Passes):
        async def run(self, entry):
            if self.made == 0:
                one.deployments.wake(KEY)
            return await super().run(entry)

    assert await run(one, Busy(Outcome(3600))) == 2


@pytest.mark.parametrize(
    "error",
    [Conflict("apply status: HTTP 409 of a webhook"), Missing("the server could not find the requested resource")],
)
async def test_one_refusal_of_the_status_ends_no_loop(one, monkeypatch, error):
    monkeypatch.setattr("manta_operator.controller.rhythm.FIRST_RETRY_SECONDS", 0.01)
    real, hits = one.client.apply, []

    async def apply(obj, subresource=None, *args, **kwargs):
        if subresource and not hits:
            hits.append(obj)
            raise error
        return await real(obj, subresource, *args, **kwargs)

    one.client.apply = apply
    entry = one.deployments.get(KEY)
    task = asyncio.create_task(Loop(one.reconciler, one.store, Rhythm(600)).run(entry))
    await until(lambda: one.cluster.get("LLMDeployment", *KEY).get("status"))
    assert hits
    one.change(replicas=2)
    one.see()
    await until(lambda: len(one.cluster.list("StatefulSet", "default")) == 2)
    entry.end()
    await task


async def test_a_pass_that_finds_nothing_ends_no_loop(one, monkeypatch):
    """Only the watch says that an object goes: whoever ends for another reason would not begin again."""
    passes = Passes(Outcome(0.01, gone=True), Outcome(3600))
    task = asyncio.create_task(run(one, passes))
    await asyncio.sleep(0.1)
    assert passes.made == 2
    one.deployments.forget(one.deployments.get(KEY).body)
    await task
    assert passes.made == 2


async def test_another_object_of_the_name_ends_the_loop_of_the_one_before(one):
    passes = Passes(Outcome(3600))
    task = asyncio.create_task(run(one, passes))
    await asyncio.sleep(0.05)
    body = one.deployments.get(KEY).body
    one.deployments.see(body | {"metadata": body["metadata"] | {"uid": "another"}})
    await task
    assert passes.made == 1


async def test_while_the_api_server_asks_to_wait_nothing_wakes(one):
    passes = Passes(Outcome(0.2, deaf=0.2))
    task = asyncio.create_task(run(one, passes))
    await asyncio.sleep(0.05)
    one.deployments.wake(KEY)
    await asyncio.sleep(0.05)
    assert passes.made == 1
    await task


async def test_trouble_with_the_api_server_is_told_once_and_tried_again(one, monkeypatch, caplog):
    monkeypatch.setattr("manta_operator.controller.rhythm.FIRST_RETRY_SECONDS", 0.01)
    assert await run(one, Passes(Transient("away"), Transient("away"), Outcome(0))) == 4
    assert caplog.text.count("away") == 1


async def test_a_bug_becomes_a_condition_and_the_loop_goes_on(one, monkeypatch, caplog):
    monkeypatch.setattr("manta_operator.controller.rhythm.FIRST_RETRY_SECONDS", 0.01)
    passes = Passes(ZeroDivisionError("by zero"))
    assert await run(one, passes) == 2
    [(reason, message)] = passes.reports
    assert reason == "InternalError"
    assert "ZeroDivisionError: by zero" in message
    assert "Traceback" in caplog.text


async def test_a_bug_stands_in_the_status_beside_what_was_known(one, monkeypatch):
    await one.settle()
    known = {entry["type"] for entry in one.cluster.get("LLMDeployment", *KEY)["status"]["conditions"]}
    await one.reconciler.statuses.report(one.deployments.get(KEY), "InternalError", "a bug")
    assert one.condition("Reconciled")["reason"] == one.condition("Ready")["reason"] == "InternalError"
    assert {entry["type"] for entry in one.cluster.get("LLMDeployment", *KEY)["status"]["conditions"]} == known
    await one.run()
    assert one.condition("Reconciled")["status"] == "True"


async def test_no_pass_before_everything_was_listed_and_people_hear_why(monkeypatch):
    monkeypatch.setattr(loops, "BLIND_SECONDS", 0.02)
    one = OneDeployment()
    one.see()
    one.store.unseen(("Pod", None), Forbidden("list pods: no"))
    passes = Passes()
    task = asyncio.create_task(run(one, passes))
    await asyncio.sleep(0.1)
    assert passes.made == 0
    assert passes.reports[0] == ("Forbidden", "list pods: no")
    task.cancel()


async def test_no_pass_while_it_may_no_longer_see_what_it_decides_from(one, monkeypatch):
    monkeypatch.setattr(loops, "BLIND_SECONDS", 0.02)
    passes = Passes(Outcome(3600))
    task = asyncio.create_task(run(one, passes))
    await asyncio.sleep(0.03)
    assert one.store.unseen(("Pod", None), Forbidden("list pods: no"))
    one.deployments.wake(KEY)
    await asyncio.sleep(0.06)
    assert passes.made == 1
    assert passes.reports[0] == ("Forbidden", "list pods: no")
    one.store.listed(("Pod", None), set(), 1)
    await task
    assert passes.made == 2


async def test_at_the_end_a_pass_under_way_may_finish(one):
    finished = asyncio.Event()

    class Slow(Passes):
        async def run(self, entry):
            await asyncio.sleep(0.05)
            finished.set()
            return Outcome(3600)

    task = asyncio.create_task(Loop(Slow(), one.store, Rhythm(600)).run(one.deployments.get(KEY)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert finished.is_set()
