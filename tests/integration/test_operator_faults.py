"""The operator behind a proxy that answers wrongly, late or not at all: it says so, obeys, and comes back by itself.

One operator lives through all tests of this module, so each of them also shows that it had survived those before.
"""

import asyncio
import itertools

import pytest
import pytest_asyncio
from chaos_player import path_of
from chaos_scene import Scene
from cluster_server import found_alone
from faulty_api import Proxy

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(360)]
NAMESPACE = "manta-faults"
QUIET_SECONDS = 0.8
numbers = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory):
    with found_alone(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxy(server, tmp_path_factory):
    proxy = Proxy(tmp_path_factory.mktemp("proxy"), server.kubeconfig)
    await proxy.start()
    yield proxy
    await proxy.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(server, proxy, tmp_path_factory):
    stage = Scene(tmp_path_factory.mktemp("stage"), server, NAMESPACE, kubeconfig=proxy.kubeconfig)
    await stage.begin()
    stage.operator.start()
    yield stage
    await stage.end()


@pytest_asyncio.fixture(loop_scope="module")
async def name(stage, proxy):
    """A name for this test's deployment; at the end all is healed, exactly right and still, by the same operator."""
    name = f"demo-{next(numbers)}"
    pid = stage.operator.pid
    yield name
    proxy.heal()
    await stage.settled()
    await stage.until("it writes no more", lambda: stage.still(QUIET_SECONDS))
    assert (stage.operator.running, stage.operator.pid) == (True, pid)
    assert "Traceback" not in stage.operator.log, stage.operator.log[-3000:]
    await stage.delete(name)
    await stage.settled()


async def says(stage, name, reason):
    """Wait until the deployment is not Reconciled for this reason; return the condition."""

    async def said():
        condition = await stage.condition(name, "Reconciled")
        return condition if (condition.get("status"), condition.get("reason")) == ("False", reason) else None

    return await stage.until(f"{name} is not Reconciled: {reason}", said)


async def ready(stage, name):
    async def holds():
        return (await stage.condition(name, "Ready")).get("status") == "True"

    await stage.until(f"{name} is Ready", holds)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(409, "Transient"), (503, "Transient"), (403, "Forbidden"), (422, "InvalidObject")],
)
async def test_a_refused_child_is_told_and_tried_again(stage, proxy, name, code, reason):
    fault = proxy.add(f"PATCH .*/networkpolicies/{name}-engine", code=code, message="no luck today")
    await stage.create(name)
    condition = await says(stage, name, reason)
    assert "no luck today" in condition["message"]
    assert f"{name}-engine" in condition["message"]
    # One child that is refused does not keep the others from being written.
    assert await stage.api.get(path_of("deployments", NAMESPACE, f"{name}-router"))
    assert len(fault.met) < 10, "it does not pause between its attempts"
    proxy.heal()
    await ready(stage, name)
    assert (await stage.condition(name, "Reconciled"))["status"] == "True"


async def test_retry_after_is_obeyed(stage, proxy, name):
    fault = proxy.add(
        f"PATCH .*/services/{name}?", times=2, code=429, headers={"Retry-After": "3"}, message="too many requests"
    )
    await stage.create(name)
    await says(stage, name, "Transient")
    await ready(stage, name)
    attempts = [each.began for each in proxy.seen(f"PATCH .*/services/{name}\\?")]
    assert len(fault.met) == 2
    pauses = [later - earlier for earlier, later in itertools.pairwise(attempts)]
    assert all(pause >= 2.95 for pause in pauses), pauses
    assert min(pauses) < 10, pauses


async def test_slow_answers_make_nothing_happen_twice(stage, proxy, name):
    proxy.add("PATCH .*/(services|statefulsets|configmaps)/", seconds=1)
    await stage.create(name)
    await ready(stage, name)
    for line, group in itertools.groupby(sorted(each.line for each in proxy.seen(f"PATCH .*/services/{name}"))):
        assert len(list(group)) == 1, line


@pytest.mark.parametrize("after", [False, True], ids=["before it arrived", "after it was done"])
async def test_a_cut_connection_is_no_answer(stage, proxy, name, after):
    fault = proxy.add(f"PATCH .*/(services|statefulsets|deployments)/{name}", times=5, cut=True, after=after)
    await stage.create(name, replicas=2)
    await ready(stage, name)
    assert len(fault.met) >= 3


@pytest.mark.parametrize("watch", ["gone", "torn", "cut"])
async def test_a_watch_that_ends_is_begun_again(stage, proxy, name, watch):
    await stage.create(name)
    await ready(stage, name)
    await stage.until("watches run", lambda: asyncio.sleep(0, proxy.streams > 3))
    if watch == "cut":
        assert proxy.cut_streams() > 3
    else:
        proxy.add("GET .*watch=", times=12, watch=watch)
        proxy.cut_streams()
    await stage.api.call("DELETE", path_of("services", NAMESPACE, name))
    await stage.change(name, replicas=2)

    async def back():
        return await stage.api.get(path_of("services", NAMESPACE, name))

    await stage.until("the Service is back", back)
    await ready(stage, name)


async def test_an_api_server_that_restarts_is_waited_for(stage, proxy, server, name):
    await stage.create(name)
    await ready(stage, name)
    if server.process:
        server.process.kill()
        proxy.cut_streams()
        await asyncio.sleep(2)
        await asyncio.to_thread(server.process.start)
    else:  # a given one is not ours to kill, and what the box's holds would be gone with it
        await proxy.stop()
        await asyncio.sleep(2)
        await proxy.start()
    await stage.change(name, replicas=2)
    await ready(stage, name)


@pytest.mark.parametrize("new", [False, True], ids=["the same", "a new one"])
async def test_a_token_that_is_refused_may_become_valid_or_be_replaced(stage, proxy, name, new):
    await stage.create(name)
    await ready(stage, name)
    old, proxy.token = proxy.token, "replaced"
    proxy.cut_streams()
    await stage.change(name, replicas=2)
    await asyncio.sleep(3)
    assert stage.operator.running
    if new:
        proxy.write_kubeconfig("replaced")
    else:
        proxy.token = old
    await ready(stage, name)


async def test_a_status_that_may_not_be_written_keeps_nothing_else(stage, proxy, name):
    fault = proxy.add(f"PATCH .*/llmdeployments/{name}/status", code=403, message="no status for you")
    await stage.create(name)

    async def written():
        return await stage.api.get(path_of("deployments", NAMESPACE, f"{name}-router"))

    await stage.until("the children are written", written)
    await stage.until("it was tried", lambda: asyncio.sleep(0, fault.met))
    await stage.until("it says so", lambda: asyncio.sleep(0, "no status for you" in stage.operator.log))
    proxy.heal()
    await ready(stage, name)


async def test_a_group_that_may_not_be_deleted_is_told(stage, proxy, name):
    await stage.create(name, replicas=2)
    await ready(stage, name)
    proxy.add("DELETE .*/statefulsets/", code=403, message="no deleting")
    await stage.change(name, replicas=1)
    condition = await says(stage, name, "Forbidden")
    assert "no deleting" in condition["message"]


@pytest.mark.parametrize("fault", ["forbidden", "unavailable"])
async def test_a_kind_that_cannot_be_listed_at_the_start_is_told(stage, server, proxy, tmp_path, fault):
    """Its own operator: whether a child exists cannot be known, so nothing is written, and people hear why."""
    code = {"forbidden": 403, "unavailable": 503}[fault]
    proxy.add("GET .*/poddisruptionbudgets\\?", code=code, message="no list for you")
    late = Scene(tmp_path, server, f"{NAMESPACE}-{fault}", kubeconfig=proxy.kubeconfig)
    await late.begin()
    try:
        await late.create("late")
        late.operator.start()
        if fault == "forbidden":
            condition = await says(late, "late", "Forbidden")
            assert "poddisruptionbudget" in condition["message"].lower()
        else:
            await late.until("it says so", lambda: asyncio.sleep(0, "no list for you" in late.operator.log))
        proxy.heal()
        await late.settled()
    finally:
        proxy.heal()
        await late.end()
