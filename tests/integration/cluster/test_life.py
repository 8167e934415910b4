"""The operator's own life: restarted, killed, replaced by its standby, absent."""

import time

import pytest
from cluster_space import KIND

ELECT = ("--leader-elect", "--lease-seconds=9")


def has_judged(operator):
    """Whether it has passed over an object since it was started."""
    return "each replica is" in operator.log


def test_a_restart_changes_nothing(space, own):
    """The operator is killed and started again: no resourceVersion moves, of the object or of any child."""
    first = own("first")
    space.make("demo", replicas=2)
    space.serving("demo")
    before = space.still("demo")
    first.kill()
    second = own("second")
    space.until("it judges again", lambda: has_judged(second))
    space.stays("every resourceVersion", lambda: space.versions("demo") == before)
    space.scale("demo", 1)
    space.until("and it acts", lambda: len(space.groups("demo")) == 1)


def test_quiet_minutes_write_nothing(space, own):
    """Nothing changes: nothing is written, whatever resyncs pass by."""
    own("quiet", "--resync-seconds=1")
    space.make("demo", replicas=2)
    space.serving("demo")
    before = space.still("demo")
    space.stays("every resourceVersion", lambda: space.versions("demo") == before, seconds=5)


def test_what_was_missed_is_caught_up_with(space, own):
    """While it is down a spec changes, a child goes and an object comes: all of it is put right at its return."""
    first = own("first")
    space.make("demo", replicas=2)
    space.serving("demo")
    first.kill()
    space.scale("demo", 1)
    space.cluster.delete("Service", space.name, "demo")
    space.make("late")
    space.make("never")
    space.cluster.delete(KIND, space.name, "never")
    own("second")
    space.serving("demo")
    space.serving("late")
    space.until("one replica is left", lambda: len(space.groups("demo")) == 1)
    assert space.get("Service", "demo")
    assert space.get(KIND, "never") is None


def test_replicas_serve_while_it_is_down(space, own):
    """With no operator at all, a pod that is deleted is back, and the routers too: Kubernetes itself restarts them."""
    first = own("first")
    space.make("demo")
    space.serving("demo")
    first.kill()
    before = {pod["metadata"]["uid"] for pod in (*space.pods("demo"), *space.pods("demo", "router"))}
    for pod in (*space.pods("demo"), *space.pods("demo", "router")):
        space.cluster.delete("Pod", space.name, pod["metadata"]["name"])

    def others():
        pods = (*space.pods("demo"), *space.pods("demo", "router"))
        ready = [pod for pod in pods if any(c["type"] == "Ready" and c["status"] == "True" for c in _conditions(pod))]
        return len(ready) == 2 and not before & {pod["metadata"]["uid"] for pod in ready}

    space.until("others serve", others)


def _conditions(pod):
    return (pod.get("status") or {}).get("conditions") or ()


def test_the_standby_takes_over(space, own):
    """Two operators with leader election: one acts; kill -9 of the leader, and the standby goes on where it was."""
    first = own("first", *ELECT)
    space.make("demo")
    space.serving("demo")
    second = own("second", *ELECT)
    time.sleep(3)
    space.scale("demo", 2)
    space.serving("demo")
    before = space.still("demo")
    holder = _holder(space)
    leader, standby = (first, second) if has_judged(first) else (second, first)
    assert not has_judged(standby)
    leader.kill()
    space.scale("demo", 3)
    space.until("the standby acts", lambda: len(space.groups("demo")) == 3)
    space.serving("demo")
    assert _holder(space) != holder
    after = space.versions("demo")
    untouched = [key for key in before if key.startswith(("StatefulSet/", "Service/", "ConfigMap/"))]
    assert {key: after[key] for key in untouched} == {key: before[key] for key in untouched}


def _holder(space):
    return space.get("Lease", "manta-operator")["spec"]["holderIdentity"]


@pytest.mark.parametrize("extra", [(), ELECT], ids=["alone", "elected"])
def test_it_ends_in_order(space, own, extra):
    """SIGTERM: it ends within seconds, exit code 0, and no word of trouble"""
    operator = own("ends", *extra)
    space.make("demo")
    space.serving("demo")
    code, seconds = operator.end()
    assert (code, seconds < 25) == (0, True), f"exit code {code} after {seconds:.1f} s"
    assert "Traceback" not in operator.log
