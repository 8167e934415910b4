"""What is known of LLMDeployments when their news cross."""

import pytest

from manta_operator.controller.deployments import Deployments

KEY = ("prod", "demo")


def body(uid="u1", version=1, generation=1, **status):
    metadata = {"name": "demo", "namespace": "prod", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata | {"generation": generation}, "status": status}


@pytest.fixture
def deployments():
    return Deployments()


def woken(entry):
    was = entry.flag.is_set()
    entry.flag.clear()
    return was


def test_only_what_says_something_new_wakes(deployments):
    entry = deployments.see(body())
    assert woken(entry)
    assert deployments.see(body(version=2)) is entry
    assert not woken(entry)
    deployments.see(body(version=3, generation=2))
    assert woken(entry)


def test_a_successor_of_the_same_name_is_another(deployments):
    old = deployments.see(body())
    new = deployments.see(body("u2", 5))
    assert deployments.get(KEY) is new is not old
    assert woken(new)


def test_late_news_of_a_predecessor_do_not_displace_its_successor(deployments):
    deployments.see(body())
    new = deployments.see(body("u2", 5))
    late = deployments.see(body("u1", 3))
    assert (late.uid, deployments.get(KEY)) == ("u1", new)
    deployments.forget(body("u1", 4))
    woken(new)
    deployments.wake(KEY)
    assert woken(new)


def test_our_own_status_wakes_nobody_and_somebody_elses_does(deployments):
    entry = deployments.see(body())
    woken(entry)
    entry.memory.status, entry.memory.version = {"replicas": 1}, 4
    deployments.see(body(version=4, replicas=1))
    assert not woken(entry)
    deployments.see(body(version=6, replicas=9))
    assert woken(entry)
