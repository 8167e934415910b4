"""What is known of LLMDeployments when their news cross."""

import pytest

from manta_operator.controller.deployments import Deployments, scale_writers

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


SCALE = {"manager": "me", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}


def test_of_those_who_scaled_it_the_newest_is_known():
    others = [
        {"manager": "kubectl", "operation": "Update", "time": "2026-01-03T00:00:00Z", "fieldsV1": {"f:spec": {}}},
        SCALE | {"manager": "status", "fieldsV1": {"f:status": {}}},
        SCALE | {"manager": "newer", "time": "2026-01-02T00:00:00Z"},
        SCALE | {"manager": "older", "time": "2026-01-01T00:00:00Z"},
    ]
    assert [each["manager"] for each in scale_writers(others)] == ["newer"]
    assert scale_writers(None) == scale_writers([]) == scale_writers(others[:2]) == ()


def test_who_scales_it_wakes_it_and_is_dated_where_the_api_server_leaves_that_out():
    deployments = Deployments()
    entry = deployments.see(body(version=1) | {"spec": {"replicas": 1}}, scale_writers([SCALE]))
    assert entry.scale_fields[0]["time"] is None, "it may have been long ago"
    entry.flag.clear()
    deployments.see(body(version=2) | {"spec": {"replicas": 1}}, scale_writers([SCALE]))
    assert (entry.scale_fields[0]["time"], entry.flag.is_set()) == (None, False)
    deployments.see(body(version=3) | {"spec": {"replicas": 2}}, scale_writers([SCALE]))
    first = entry.scale_fields[0]["time"]
    assert first is not None
    deployments.see(body(version=4) | {"spec": {"replicas": 2}}, scale_writers([SCALE]))
    assert entry.scale_fields[0]["time"] == first
    entry.flag.clear()
    deployments.see(body(version=5) | {"spec": {"replicas": 2}}, scale_writers([SCALE | {"manager": "hpa"}]))
    assert entry.flag.is_set()
