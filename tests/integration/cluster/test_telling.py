"""What an LLMDeployment tells: conditions for what is so, events for what happened, each once."""

import pytest

INTEGRATIONS = {
    "PodMonitor": {"monitoring": {"podMonitor": True}},
    "HTTPRoute": {"gateway": {"parentRefs": [{"name": "edge"}], "hostnames": ["llm.example.com"]}},
}


def told(space, reason):
    """The types of the events with a reason, one an event."""
    return [kind for kind, why, _ in space.events("demo") if why == reason]


@pytest.mark.parametrize("kind", INTEGRATIONS)
def test_a_kind_that_may_be_absent_stops_nothing(space, kind):
    """An optional kind is made where its CRD is, and said to be missing where not; all else serves."""
    space.make("demo", **INTEGRATIONS[kind])
    space.serving("demo")
    if space.cluster.serves(kind):
        space.becomes("demo", "Integrated", "True", "Written")
        assert space.get(kind, "demo")
    else:
        missing = space.becomes("demo", "Integrated", "False", "CRDMissing")
        assert f"the cluster serves no {kind}" in missing["message"]
        space.until("it is told", lambda: told(space, "CRDMissing") == ["Warning"])
    space.change("demo", monitoring=None, gateway=None)
    space.until("nobody asks for it any more", lambda: judged_without(space, "Integrated"))
    if space.cluster.serves(kind):
        space.until("it is taken away", lambda: space.get(kind, "demo") is None)


def test_a_pool_that_no_gateway_can_find_is_not_ready(space):
    """Mode inference-pool without the CRD of InferencePools: Integrated and Ready say so, and the old routers stay."""
    if space.cluster.serves("InferencePool"):
        pytest.skip("this cluster serves InferencePool")
    space.make("demo")
    space.serving("demo")
    space.change("demo", router={"mode": "inference-pool"})
    missing = space.becomes("demo", "Ready", "False", "CRDMissing")
    assert "the cluster serves no InferencePool" in missing["message"]
    space.becomes("demo", "Available", "True", "Serving")
    assert space.get("Deployment", "demo-router")
    assert space.get("Service", "demo")
    space.change("demo", router={"mode": "envoy"})
    space.serving("demo")
    space.until("the endpoint picker is taken away", lambda: space.get("Deployment", "demo-epp") is None)


def judged_without(space, kind):
    """Whether the present generation is judged, and says nothing of a condition."""
    space.judged("demo", "Ready")
    return kind not in {entry["type"] for entry in space.status("demo")["conditions"]}


def test_what_happened_is_told_in_events(space):
    """Serving, a scale to zero, and back: an event each; what merely is so makes none."""
    space.make("demo")
    space.serving("demo")
    space.until("the first is told", lambda: told(space, "Serving") == ["Normal"])
    space.scale("demo", 0)
    space.becomes("demo", "Available", "False", "ScaledToZero")
    space.until("the second is told", lambda: told(space, "ScaledToZero") == ["Normal"])
    space.scale("demo", 1)
    space.serving("demo")
    space.until("the third is told", lambda: told(space, "Serving") == ["Normal", "Normal"])
    reasons = {why for _, why, _ in space.events("demo")}
    assert reasons <= {"Serving", "ScaledToZero", "ScalingDown", "Settled"}


def test_a_restarted_operator_tells_nothing_twice(space, own):
    """A name is taken: one event, also after the operator was killed, started again, and has judged a new spec."""
    first = own()
    service = {"ports": [{"port": 80}], "clusterIP": "None", "selector": {"app": "another"}}
    meta = {"name": "demo", "namespace": space.name}
    space.cluster.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service})
    space.make("demo")
    space.becomes("demo", "Reconciled", "False", "NotOwned")
    space.until("it is told", lambda: told(space, "NotOwned") == ["Warning"])
    first.kill()
    own("another")
    space.scale("demo", 2)
    space.becomes("demo", "Reconciled", "False", "NotOwned")
    space.stays("it is told once", lambda: told(space, "NotOwned") == ["Warning"])
    space.cluster.delete("Service", space.name, "demo")
    space.becomes("demo", "Reconciled", "True", "Written", seconds=120)
    space.until("its end is told", lambda: told(space, "Reconciled") == ["Normal"])
