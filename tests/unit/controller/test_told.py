"""What a pass tells of itself: decisions in the status, events and the log, each once."""

import pytest
from one_deployment import KEY, OneDeployment

from manta_operator.controller.errors import Transient, classify


@pytest.fixture
def one():
    return OneDeployment()


async def test_what_a_pass_decided_is_told_although_its_last_look_sees_it_done(one, caplog):
    caplog.set_level("INFO")
    one.change(replicas=2)
    await one.settle()
    one.client.events.clear()
    one.change(replicas=1)
    await one.settle()
    [event] = one.client.events
    assert event["reason"] == "ScalingDown"
    assert sum(event["message"] in message for message in caplog.messages) == 1
    decisions = one.cluster.get("LLMDeployment", *KEY)["status"]["decisions"]
    assert [decision["reason"] for decision in decisions] == ["Shaped", "Fit"], "told, and over"


async def test_that_a_lost_group_is_replaced_is_told(one, caplog):
    caplog.set_level("INFO")
    await one.settle()
    [group] = one.groups()
    one.pod(group)
    one.cluster.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "another"}})
    waiting = {"type": "Ready", "status": "False", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    one.pod(group, phase="Running", conditions=[waiting])
    one.client.events.clear()
    await one.run()
    [told] = [event for event in one.client.events if event["reason"] == "Replacing"]
    assert group["metadata"]["name"] in told["message"]
    assert any(told["message"] in message for message in caplog.messages)


async def test_what_was_decided_is_told_by_the_first_status_that_can_be_written(one, monkeypatch):
    one.change(replicas=2)
    await one.settle()
    one.client.events.clear()
    one.change(replicas=1)
    apply = one.client.apply

    async def refuse(obj, subresource=None, *args, **kwargs):
        if subresource:
            raise Transient("apply status: away")
        return await apply(obj, subresource, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(one.client, "apply", refuse)
        with pytest.raises(Transient):
            await one.run()
    await one.settle()
    assert [event["reason"] for event in one.client.events] == ["ScalingDown"]


async def test_events_tell_of_transitions_once(one):
    one.client.refuse["Service"] = classify(403, "not allowed", "apply Service default/demo")
    await one.run()
    await one.run()
    [event] = one.client.events
    assert (event["type"], event["reason"]) == ("Warning", "Forbidden")
    assert event["involvedObject"]["uid"] == one.cluster.get("LLMDeployment", *KEY)["metadata"]["uid"]
