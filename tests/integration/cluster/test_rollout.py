"""A changed template: surge where there is room, in place where there is none, paused when it fails, and back again."""

import time

import pytest
from cluster_space import KIND
from played import GPU

CHANGE = {"maxModelLen": 512}
H100 = {"type": "nvidia-h100-80gb", "perPod": 1}


def serving_groups(space, name="demo"):
    """How many groups serve now, whatever their revision: of one pod each, whose StatefulSet would say so later."""
    told = [(pod.get("status") or {}).get("conditions") or () for pod in space.pods(name)]
    return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in conditions) for conditions in told)


def gpus(space, replicas=1, **spec):
    """A deployment on GPUs of a model that the operator cannot read."""
    return space.make("demo", model={"uri": "hf://example/demo"}, accelerator=H100, replicas=replicas, **spec)


def test_a_surge_never_costs_a_serving_replica(space):
    """With room, a new replica serves before an old one leaves: at no moment do fewer serve than are asked for."""
    space.make("demo", replicas=2)
    space.serving("demo")
    old = set(space.groups("demo"))
    space.change("demo", engine=CHANGE)
    fewest, most, deadline = 2, 2, time.monotonic() + 120
    while set(space.groups("demo")) & old or len(space.groups("demo")) != 2:
        fewest = min(fewest, serving_groups(space))
        most = max(most, len(space.groups("demo")))
        assert time.monotonic() < deadline, space.picture()
    space.serving("demo")
    assert fewest >= 2
    assert most == 3, "replicas + surge"


def test_the_old_one_serves_until_the_new_one_does(space):
    """While the new replica does not start, the old one stays and Available stays True."""
    space.make("demo")
    space.serving("demo")
    [old] = space.groups("demo")
    space.played.hold("demo-")
    space.played.let("demo-router")
    space.played.let(old)
    space.change("demo", engine=CHANGE)
    space.until("a new group stands beside it", lambda: len(space.groups("demo")) == 2)
    assert space.becomes("demo", "Progressing", "True")
    space.stays("the old group", lambda: old in space.groups("demo"), seconds=2)
    assert space.judged("demo", "Available")["status"] == "True"
    space.played.let("demo-")
    space.serving("demo")
    space.until("the old one is gone", lambda: len(space.groups("demo")) == 1)
    assert space.groups("demo") != [old]


def test_without_room_one_leaves_first(space):
    """Two replicas on two GPUs: no room for a third, so one drains and its place is taken; one serves all along."""
    space.played.add_node("gpu", gpus=2)
    gpus(space, replicas=2)
    space.serving("demo")
    old = set(space.groups("demo"))
    space.played.hold("demo-")
    for name in ("demo-router", *old):
        space.played.let(name)
    space.change("demo", engine=CHANGE)
    space.until("one has left", lambda: serving_groups(space) == 1)
    space.stays("the other serves", lambda: serving_groups(space) == 1)
    space.played.let("demo-")
    fewest, deadline = 1, time.monotonic() + 120
    while set(space.groups("demo")) & old or len(space.groups("demo")) != 2:
        fewest = min(fewest, serving_groups(space))
        assert time.monotonic() < deadline, space.picture()
    space.serving("demo")
    assert fewest == 1


def test_one_replica_and_no_room_waits_and_says_so(space):
    """One replica on the only GPU: nothing is taken down; the condition names what is missing and the way out."""
    node = space.played.add_node("gpu", gpus=1)
    gpus(space)
    space.serving("demo")
    [old] = space.groups("demo")
    space.change("demo", engine=CHANGE)
    told = space.until(
        "it says that there is no room",
        lambda: (found := space.judged("demo", "Progressing"))["reason"] == "NoRoom" and found,
    )
    assert "spec.rollout.unavailable" in told["message"]
    assert space.judged("demo", "Available")["status"] == "True"
    assert old in space.groups("demo")
    assert space.cluster.get("Node", None, node)["status"]["allocatable"][GPU] == "1"
    space.change("demo", rollout={"unavailable": 1})
    space.serving("demo", seconds=120)
    assert old not in space.groups("demo")


def test_a_rollout_that_fails_is_paused(space):
    """New replicas crash: nothing more is started or taken away, Degraded quotes the pod, old replicas go on."""
    space.make("demo", replicas=2)
    space.serving("demo")
    old = space.groups("demo")
    space.played.play("demo-", "crashing")
    for name in ("demo-router", *old):
        space.played.let(name)
    space.change("demo", engine=CHANGE)
    degraded = space.becomes("demo", "Degraded", "True", seconds=120)
    assert "CUDA out of memory" in degraded["message"] or "CrashLoopBackOff" in degraded["message"]
    space.stays("both old replicas", lambda: set(old) <= set(space.groups("demo")), seconds=2)
    assert space.judged("demo", "Available")["status"] == "True"
    assert space.judged("demo", "Progressing")["status"] == "False"


def test_the_old_spec_rolls_back(space):
    """The former spec applied again: new replicas leave, the old ones are the same objects as before."""
    made = space.make("demo", replicas=2)
    space.serving("demo")
    before = {each["metadata"]["uid"] for each in space.children("demo", "StatefulSet")}
    old = space.groups("demo")
    space.played.play("demo-", "crashing")
    for name in ("demo-router", *old):
        space.played.let(name)
    space.change("demo", engine=CHANGE)
    space.until("a new one is there", lambda: len(space.groups("demo")) > 2)
    space.change("demo", engine={"maxModelLen": None})
    space.until("it is gone", lambda: space.groups("demo") == old)
    space.serving("demo")
    assert {each["metadata"]["uid"] for each in space.children("demo", "StatefulSet")} == before
    assert space.get(KIND, "demo")["spec"] == made["spec"]


def test_the_progress_deadline(space):
    """A new replica that does not come up within rollout.progressDeadlineSeconds: paused, and the reason says so."""
    engine = {"startupSeconds": 30}
    space.make("demo", engine=engine, rollout={"progressDeadlineSeconds": 31})
    space.serving("demo")
    [old] = space.groups("demo")
    space.played.hold("demo-")
    for name in ("demo-router", old):
        space.played.let(name)
    space.change("demo", engine=engine | CHANGE)
    late = space.becomes("demo", "Progressing", "False", "ProgressDeadlineExceeded", seconds=120)
    assert late["message"]
    assert old in space.groups("demo")
    assert space.judged("demo", "Available")["status"] == "True"


@pytest.mark.parametrize("surge", [2])
def test_a_surge_as_wide_as_asked_for(space, surge):
    """rollout.surge: 2 starts two new replicas at once, and no third."""
    space.make("demo", replicas=2, rollout={"surge": surge, "unavailable": 0})
    space.serving("demo")
    old = space.groups("demo")
    space.played.hold("demo-")
    for name in ("demo-router", *old):
        space.played.let(name)
    space.change("demo", engine=CHANGE)
    space.until("two new ones are there", lambda: len(space.groups("demo")) == 2 + surge)
    space.stays("no third", lambda: len(space.groups("demo")) == 2 + surge, seconds=2)
    space.played.let("demo-")
    space.serving("demo")
    space.until("only the new ones are left", lambda: len(space.groups("demo")) == 2)
    assert not set(old) & set(space.groups("demo"))
