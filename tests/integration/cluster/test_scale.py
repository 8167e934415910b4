"""Numbers: who owns spec.replicas, how it is followed up and down, and which replica goes first."""

import shutil
import subprocess

import pytest
from cluster_space import KIND

from manta_operator.api.names import FIELD_MANAGER


def test_scaling_up_down_and_to_zero(space):
    """`scale` up, down and to zero is followed exactly, and the status counts what serves."""
    space.make("demo")
    space.serving("demo")
    for replicas in (3, 1, 0, 2):
        space.scale("demo", replicas)
        space.serving("demo")
        space.until("the others are gone", lambda: len(space.groups("demo")) == replicas)  # noqa: B023
        counted = ("replicas", "readyReplicas")
        space.until("they are counted", lambda: [space.status("demo").get(k) for k in counted] == [replicas] * 2)  # noqa: B023
        assert space.judged("demo", "Available")["status"] == ("True" if replicas else "False")


def test_kubectl_scale(space):
    """`kubectl scale llmd/demo --replicas=2` works, and `kubectl get` shows the number."""
    if not (kubectl := shutil.which("kubectl")):
        pytest.skip("no kubectl on this machine")
    space.make("demo")
    space.serving("demo")
    call = [kubectl, f"--kubeconfig={space.server.kubeconfig}", f"--namespace={space.name}"]
    subprocess.run([*call, "scale", "llmd/demo", "--replicas=2"], check=True, capture_output=True, timeout=90)
    space.serving("demo")
    shown = subprocess.run([*call, "get", "llmd"], check=True, capture_output=True, text=True, timeout=90).stdout
    heads, row = (line.split() for line in shown.splitlines())
    assert (row[heads.index("READY")], row[heads.index("DESIRED")]) == ("2", "2")


def test_an_autoscaler_owns_the_number(space):
    """What an autoscaler writes through `scale` stays: the operator owns no field of the spec, ever."""
    space.make("demo")
    space.serving("demo")
    for replicas in (3, 2):
        space.scale("demo", replicas)
        space.serving("demo")
        space.stays("the number", lambda: space.get(KIND, "demo")["spec"]["replicas"] == replicas, seconds=1)  # noqa: B023
    entries = space.get(KIND, "demo")["metadata"]["managedFields"]
    ours = [each for each in entries if each["manager"] != "manta-tests" and _by_the_operator(each["manager"])]
    assert ours
    assert not [each for each in ours if "f:spec" in each["fieldsV1"]]


def _by_the_operator(manager):
    return manager.startswith(FIELD_MANAGER) or "kopf" in manager or "python" in manager.lower()


@pytest.mark.parametrize("weakness", ["crashing", "unready"])
def test_the_weakest_replica_goes_first(space, weakness):
    """Of two replicas the one that does not serve leaves on a scale-down, whichever index it has."""
    space.make("demo", replicas=2)
    space.serving("demo")
    first, second = space.groups("demo")
    space.played.play(first, weakness)
    space.until("it is counted out", lambda: space.status("demo")["readyReplicas"] == 1)
    space.scale("demo", 1)
    space.until("one is left", lambda: space.groups("demo") == [second])
    space.serving("demo")


def test_of_equals_the_youngest_goes(space):
    """Of replicas that all serve, and serve the same load, the one made last leaves."""
    space.make("demo")
    space.serving("demo")
    [oldest] = space.groups("demo")
    space.scale("demo", 2)
    space.serving("demo")
    space.scale("demo", 1)
    space.until("one is left", lambda: space.groups("demo") == [oldest])


def test_a_replica_that_left_comes_back_under_a_free_index(space):
    """After the replica of index 0 has left, the next one takes the lowest index that is free."""
    space.make("demo", replicas=2)
    space.serving("demo")
    first, second = space.groups("demo")
    space.played.play(first, "crashing")
    space.until("it is counted out", lambda: space.status("demo")["readyReplicas"] == 1)
    space.scale("demo", 1)
    space.until("one is left", lambda: space.groups("demo") == [second])
    space.until("its pods are gone", lambda: len(space.list("Pod", **{"manta.dev/replica": "0"})) == 0)
    space.played.let(first)
    space.scale("demo", 2)
    space.serving("demo")
    assert space.groups("demo") == [first, second]
