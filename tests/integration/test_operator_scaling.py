"""The real operator follows a demand: up, down, to zero and back, through kills, lies and a second owner."""

import asyncio
import time

import pytest
import pytest_asyncio
from made_up_picker import Picker
from operator_world import RESYNC_SECONDS, World

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

QUICK = {"stabilisationSeconds": 2, "downSeconds": 1, "downPercent": 100}
FOLLOWS = {"maxReplicas": 6, "behaviour": QUICK}
SLEEPS = {"minReplicas": 0, "maxReplicas": 6, "scaleToZero": {"afterSeconds": 10}, "behaviour": QUICK}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory):
    """One cluster, operator and picker; every test has a deployment of its own name, and takes it away."""
    world, picker = World(tmp_path_factory.mktemp("scaling")), Picker()
    try:
        await picker.start()
        await world.start()
        yield world, picker
    finally:
        await world.stop()
        await picker.stop()


@pytest.fixture
def world(shared):
    return shared[0]


@pytest_asyncio.fixture(loop_scope="module")
async def picker(shared):
    """The picker, idle; what the test made is gone after it."""
    world, picker = shared
    picker.rate, picker.answer = 0.0, None
    picker.hold(0)
    yield picker
    for each in world.cluster.list("LLMDeployment", "default"):
        world.cluster.delete("LLMDeployment", "default", each["metadata"]["name"])
    await world.until("nothing is left", lambda: not world.cluster.list("Pod", "default"))


async def number(world, name, wanted, seconds=60):
    """Wait until so many groups are there; return how long that took."""
    began = time.monotonic()
    await world.until(f"{name} has other groups", lambda: wanted(len(world.groups(name))), seconds)
    return time.monotonic() - began


async def test_more_demand_is_more_replicas_within_seconds_and_less_is_fewer(world, picker):
    made = world.make("step", autoscaling=FOLLOWS)
    await world.serving("step")
    picker.rate = 5.0
    took = await number(world, "step", lambda count: count > 1)
    assert took < 15
    await world.serving("step")
    status = world.status("step")
    assert status["desiredReplicas"] == status["autoscaling"]["replicas"] > 1
    assert status["autoscaling"]["changes"][0]["fromReplicas"] >= 1

    picker.rate = 0.0
    await number(world, "step", lambda count: count == 1, 120)
    assert world.cluster.get("LLMDeployment", "default", "step")["spec"] == made["spec"]


async def test_to_zero_and_back_as_soon_as_somebody_waits(world, picker):
    world.make("sleeps", autoscaling=SLEEPS)
    await world.serving("sleeps")
    await number(world, "sleeps", lambda count: count == 0, 120)
    await world.until("it says that it sleeps", lambda: world.judged("sleeps", "Autoscaled")["reason"] == "Asleep")
    routers = world.children("sleeps", "Deployment")
    assert [each["spec"]["replicas"] for each in routers] == [1], "the routers hold what comes"

    before = picker.asked
    await asyncio.sleep(5)
    assert picker.asked - before <= 2, "nobody waits, and it is asked again and again"
    picker.hold(3)
    took = await number(world, "sleeps", lambda count: count > 0)
    assert took < 5
    picker.hold(0)
    await world.serving("sleeps")


async def test_killed_in_the_middle_of_a_scale_up_the_next_one_finishes_it(world, picker):
    world.make("killed", autoscaling=FOLLOWS)
    await world.serving("killed")
    world.hold.add("killed-")
    picker.rate = 20.0

    def written():
        return (world.status("killed").get("autoscaling") or {}).get("replicas", 0) > 1

    await world.until("the number is written", written)
    await world.kill_operator()
    picker.answer = {"status": 500}  # nobody tells the next one how much is needed
    asked = world.status("killed")["autoscaling"]["replicas"]
    world.hold.discard("killed-")
    world.start_operator()
    await number(world, "killed", lambda count: count == asked)
    await world.serving("killed")


async def test_looks_go_on_while_the_api_server_is_away(world, picker):
    world.make("away", autoscaling=FOLLOWS)
    await world.serving("away")
    await world.vanish()
    picker.rate, before = 5.0, picker.asked
    await world.until("it goes on looking", lambda: picker.asked >= before + 5)
    assert len(world.groups("away")) == 1
    await world.serve()
    await number(world, "away", lambda count: count > 1)
    await world.serving("away")


LIES = [
    {"status": 500},
    {"text": '{"instance": "1", "requests": -1}'},
    {"text": "[" * 50_000},
    {"text": '{"instance": "1", "requests": NaN}'},
    {"status": 302, "headers": {"Location": "http://127.1.251.2:9002/demand"}},
]


async def test_whatever_the_routers_answer_the_number_stays_and_people_hear_of_it(world, picker):
    world.make("lies", autoscaling=FOLLOWS, replicas=3)
    await world.serving("lies")
    for lie in LIES:
        picker.answer = lie
        await asyncio.sleep(2.5)
    await world.until("it says so", lambda: world.judged("lies", "Autoscaled")["reason"] == "SignalsMissing")
    assert len(world.groups("lies")) == 3
    assert world.judged("lies", "Ready")["status"] == "True"
    picker.answer = None
    await number(world, "lies", lambda count: count == 1, 120)
    await world.until("all is well", lambda: world.judged("lies", "Autoscaled")["status"] == "True")


async def test_a_second_owner_is_told_of_and_not_followed(world, picker):
    world.make("owners", autoscaling=FOLLOWS)
    await world.serving("owners")
    await world.scale("owners", 5)
    await world.until("it says so", lambda: world.judged("owners", "Autoscaled")["reason"] == "SecondOwner")
    await asyncio.sleep(RESYNC_SECONDS + 1)
    assert len(world.groups("owners")) == 1
    assert world.status("owners")["desiredReplicas"] == 1


async def test_bounds_hold_at_once_and_without_autoscaling_the_spec_rules(world, picker):
    world.make("bounds", autoscaling=FOLLOWS, replicas=2)
    await world.serving("bounds")
    world.change("bounds", autoscaling={"minReplicas": 4})
    await number(world, "bounds", lambda count: count == 4)
    await world.until("it is told", lambda: world.status("bounds")["autoscaling"]["replicas"] == 4)
    world.change("bounds", autoscaling=None)
    await world.until("it is told", lambda: world.judged("bounds", "Autoscaled")["reason"] == "TurnedOff")
    assert len(world.groups("bounds")) == 4, "what serves goes in steps"
    world.change("bounds", replicas=5)
    await number(world, "bounds", lambda count: count == 5)
    await world.until("nothing is told of it", lambda: "autoscaling" not in world.status("bounds"))
    assert world.status("bounds")["desiredReplicas"] == 5


async def test_steady_demand_writes_nothing(world, picker):
    world.make("steady", autoscaling={"maxReplicas": 6})
    await world.serving("steady")
    before = await world.still("steady")
    await asyncio.sleep(2 * RESYNC_SECONDS + 6)
    assert world.versions("steady") == before
