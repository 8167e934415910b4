"""Draining under traffic, with real engines behind the router: all is finished in time, and nothing is cut in silence.

On boxes of their own: a group of two pods over Ray, where vLLM's own drain does not work, and a replica without time.
"""

import asyncio

import aiohttp
import psutil
import pytest
import pytest_asyncio
import yaml
from faults.processes import find, of_pod
from in_flight import InFlight
from running import ROOT, chat_with, only_all, start_box, stop_box, wait_ready

from manta_operator.api import names
from manta_operator.cli.watch import take
from manta_operator.controller.client import connect
from manta_runtime.engine.failure import CUT_OFF

pytestmark = only_all

TOKENS = 900
MANY_TOKENS = 1900
"""As many as the model can make of one prompt: five seconds of a quiet machine."""
BEGUN_SECONDS = 120
ENDED_SECONDS = 120
LONG_SECONDS = 300
BRIEF_SECONDS = 1
"""A drain that is too short for what is in flight."""


def boxed(folder, example, **changes):
    """A box with one deployment: an example with another spec."""
    document = yaml.safe_load((ROOT / "examples" / example).read_text())
    document["spec"] |= changes
    file = folder / example
    file.write_text(yaml.safe_dump(document))
    return start_box(folder / "box", str(file))


@pytest.fixture
def group_box(tmp_path):
    running = boxed(tmp_path, "tiny-sharded.yaml", rollout={"drainSeconds": LONG_SECONDS})
    yield running
    assert stop_box(running) == 0, running.words.read_text()


@pytest.fixture(scope="module")
def brief_box(tmp_path_factory):
    """A replica that has too little time to drain, alone behind its router."""
    changes = {"replicas": 1, "rollout": {"drainSeconds": BRIEF_SECONDS}}
    changes["engine"] = yaml.safe_load((ROOT / "examples/tiny.yaml").read_text())["spec"]["engine"]
    changes["engine"]["maxModelLen"] = 2048
    running = boxed(tmp_path_factory.mktemp("brief"), "tiny.yaml", **changes)
    yield running
    assert stop_box(running) == 0, running.words.read_text()


@pytest_asyncio.fixture
async def session():
    async with aiohttp.ClientSession() as opened:
        yield opened


async def in_flight(client, session, name, streams, plain, tokens=TOKENS):
    """Requests that run now."""
    chat = await chat_with(client, name)
    requests = InFlight(chat.base_url, name)
    await chat.close()
    requests.start(session, streams, plain, tokens)
    await requests.begun(BEGUN_SECONDS)
    return requests


async def replicas(client, name, count):
    live = await client.get(names.API_VERSION, names.KIND, "default", name)
    document = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": "default"},
        "spec": live["spec"] | {"replicas": count},
    }
    await client.apply(document, manager="manta-cli")


async def engine_pod(client, name, rank=0):
    selector = f"{names.LABEL_DEPLOYMENT}={name},{names.LABEL_COMPONENT}={names.COMPONENT_ENGINE}"
    pods = await client.list("v1", "Pod", selector=selector)
    return next(pod for pod in pods if pod["metadata"]["name"].endswith(f"-{rank}"))


async def end_of(client, name):
    """How the engine of a deployment ended last, when that is told."""
    async with asyncio.timeout(ENDED_SECONDS):
        while True:
            status = (await engine_pod(client, name))["status"]["containerStatuses"][0]
            for moment in ("state", "lastState"):
                if ended := (status.get(moment) or {}).get("terminated"):
                    return ended
            await asyncio.sleep(0.2)


async def test_a_group_of_two_pods_finishes_what_is_in_flight(group_box, session, tmp_path):
    async with connect(tmp_path, group_box.state.kubeconfig) as client:
        await wait_ready(group_box, client, "tiny-sharded", 1)
        requests = await in_flight(client, session, "tiny-sharded", streams=3, plain=3)
        await replicas(client, "tiny-sharded", 0)
        streams, plain = await requests.ended()
        assert [(each.how, each.tokens) for each in (*streams, *plain)] == [("done", TOKENS)] * 6
        async with asyncio.timeout(ENDED_SECONDS):
            while any(pod.container == "engine" for pod in (await take(client)).pods.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def launcher_of(box, client):
    pod = await engine_pod(client, "tiny")
    return find(of_pod(psutil.Process(box.state.pid), pod["status"]["podIP"]), "launcher")


def all_got_errors(streams, plain):
    """Whether nobody was left in silence: broken streams, and plain requests with an error in OpenAI's form."""
    assert {each.how for each in streams} <= {"broken", "error event"}, streams
    assert {(each.how, each.status) for each in plain} <= {("status", 502), ("status", 503)}, plain
    assert all(each.body["error"]["message"] for each in plain), plain


async def test_what_is_left_at_the_deadline_gets_an_error_and_is_counted(brief_box, session, tmp_path):
    async with connect(tmp_path, brief_box.state.kubeconfig) as client:
        await wait_ready(brief_box, client, "tiny", 1)
        requests = await in_flight(client, session, "tiny", streams=6, plain=4, tokens=MANY_TOKENS)
        (await launcher_of(brief_box, client)).terminate()
        all_got_errors(*await requests.ended())
        ended = await end_of(client, "tiny")
    assert ended["exitCode"] == CUT_OFF
    assert f"not drained within {BRIEF_SECONDS} s, 10 requests in flight were cut off" in ended["message"]


async def test_a_launcher_killed_in_mid_drain_leaves_no_client_hanging(brief_box, session, tmp_path):
    async with connect(tmp_path, brief_box.state.kubeconfig) as client:
        await wait_ready(brief_box, client, "tiny", 1)
        requests = await in_flight(client, session, "tiny", streams=6, plain=4, tokens=MANY_TOKENS)
        launcher = await launcher_of(brief_box, client)
        below = launcher.children(recursive=True)
        launcher.terminate()
        await asyncio.sleep(BRIEF_SECONDS / 4)
        launcher.kill()
        all_got_errors(*await requests.ended())
        assert (await end_of(client, "tiny"))["exitCode"] in (CUT_OFF, 137)
        _, left = await asyncio.to_thread(psutil.wait_procs, below, ENDED_SECONDS)
        assert not left, left
        await wait_ready(brief_box, client, "tiny", 1)
