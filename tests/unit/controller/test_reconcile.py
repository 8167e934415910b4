"""What one pass reads and writes, on the box's API server without the network."""

from itertools import pairwise

import pytest
from one_deployment import KEY, OneDeployment

from manta_operator.controller.errors import Forbidden, Transient, classify
from manta_operator.facts.models import FactsError

EVERYTHING = {
    "ServiceAccount": 1,
    "Role": 1,
    "RoleBinding": 1,
    "ConfigMap": 2,
    "Service": 2,
    "PodDisruptionBudget": 2,
    "NetworkPolicy": 2,
    "StatefulSet": 1,
    "Deployment": 1,
}


@pytest.fixture
def one():
    return OneDeployment()


async def test_the_first_pass_writes_everything_once_and_the_second_nothing(one):
    await one.run()
    assert one.client.writes == EVERYTHING | {"status": 1}
    assert one.cluster.get("LLMDeployment", *KEY)["status"]["replicas"] == 1, "the status is of the world after it"
    one.woken.clear()
    await one.run()
    assert one.client.writes == {}
    assert one.woken == [], "its own writes woke it"


async def test_a_pass_over_a_quiet_world_reads_nothing(one):
    await one.settle()
    await one.run()
    assert one.client.reads == {}


async def test_an_operator_that_starts_again_applies_once_and_changes_nothing(one):
    await one.settle()
    before = {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in one.cluster.list("Service")}
    again = OneDeployment()
    again.client.cluster = again.cluster = one.cluster
    await again.run()
    after = {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in one.cluster.list("Service")}
    assert again.client.writes == EVERYTHING
    assert after == before
    await again.run()
    assert again.client.writes == {}


async def test_only_what_differs_is_applied(one):
    await one.settle()
    one.change(router={"replicas": 3})
    await one.run()
    assert one.client.writes == {"Deployment": 1, "status": 1}


@pytest.mark.parametrize(
    ("kind", "name", "patch"),
    [
        ("ServiceAccount", "demo-router", {"metadata": {"labels": {"manta.dev/deployment": "demo", "x": "y"}}}),
        ("Role", "demo-router", {"rules": []}),
        ("Service", "demo", {"spec": {"selector": {"x": "y"}}}),
        ("NetworkPolicy", "demo-engine", {"spec": {"policyTypes": ["Egress"]}}),
        ("PodDisruptionBudget", "demo-engine", {"spec": {"maxUnavailable": 7}}),
        ("Deployment", "demo-router", {"spec": {"replicas": 9}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_drift_is_applied_away_once(one, kind, name, patch):
    await one.settle()
    one.cluster.patch(kind, "default", name, patch)
    await one.run()
    assert one.client.writes == {kind: 1}
    await one.run()
    assert one.client.writes == {}


async def test_status_and_foreign_annotations_are_no_drift(one):
    await one.settle()
    one.cluster.patch("Deployment", "default", "demo-router", {"metadata": {"annotations": {"other.dev/x": "1"}}})
    await one.run()
    assert one.client.writes == {}


async def test_a_surplus_group_is_pruned_once_although_the_store_lags(one):
    one.change(replicas=2)
    await one.settle()
    one.change(replicas=1)
    await one.run()
    assert one.client.writes["delete StatefulSet"] == 1
    one.see()
    await one.run(hear=False)
    assert "delete StatefulSet" not in one.client.writes
    [left] = one.cluster.list("StatefulSet", "default")
    assert left["metadata"]["name"].endswith("-0")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Forbidden("apply Deployment: no permission"), "Forbidden"),
        (Transient("apply Deployment: away"), "Transient"),
        (classify(422, "denied by policy", "apply Deployment"), "InvalidObject"),
    ],
)
async def test_a_refusal_becomes_a_condition_and_a_retry_that_backs_off(one, error, reason, caplog):
    one.client.refuse["Deployment"] = error
    pauses = [(await one.run()).pause for _ in range(8)]
    assert pauses[0] <= 1.0
    assert all(later > 1.5 * sooner for sooner, later in pairwise(pauses[:6]))
    assert 50 < pauses[-1] <= 60
    reconciled = one.condition("Reconciled")
    assert (reconciled["status"], reconciled["reason"]) == ("False", reason)
    assert error.message in reconciled["message"]
    assert "next try at" in reconciled["message"]
    assert one.condition("Ready")["status"] == "False"
    assert caplog.text.count(error.message) == 1, "said once, not at every try"
    one.client.refuse.clear()
    await one.run()
    assert one.deployments.get(KEY).memory.failed == 0, "the next failure is tried again at once"
    assert one.client.writes["Deployment"] == 1
    assert one.client.writes["ServiceAccount"] == 0
    assert one.condition("Reconciled")["status"] == "True"


async def test_a_kind_it_may_no_longer_see_is_told_and_written_all_the_same(one):
    await one.settle()
    one.store.unseen(("NetworkPolicy", None), Forbidden("list networkpolicies in all namespaces: cannot list"))
    one.store.unseen(("HTTPRoute", None), Forbidden("list httproutes in all namespaces: nobody asked for one"))
    one.change(router={"port": 9000}, replicas=2)
    one.see()
    outcome = await one.run(hear=False)
    reconciled = one.condition("Reconciled")
    assert (reconciled["status"], reconciled["reason"]) == ("False", "Forbidden")
    assert reconciled["message"] == "list networkpolicies in all namespaces: cannot list"
    assert one.client.writes["Service"] == 1
    assert one.client.writes["StatefulSet"] == 1
    assert outcome.deaf == one.deployments.get(KEY).memory.failed == 0, (
        "nothing to try: what may be seen again wakes it"
    )
    assert one.store.watched(("NetworkPolicy", None))
    await one.run()
    assert one.condition("Reconciled")["status"] == "True"


async def test_what_it_never_could_see_is_not_written_for_it_may_be_somebody_elses(one):
    refusal = Forbidden("list the names of roles in default: cannot list")
    one.client.refuse["Role"] = refusal
    await one.run()
    assert "Role" not in one.client.writes
    assert one.client.writes["StatefulSet"] == 1
    assert one.condition("Reconciled")["message"].startswith(refusal.message)


async def test_what_the_api_server_asks_for_is_waited(one):
    one.client.refuse["Service"] = classify(429, "too many requests", "apply Service", 33.0)
    outcome = await one.run()
    assert (outcome.pause, outcome.deaf) == (33.0, 33.0)


async def test_a_namespace_that_goes_is_no_alarm(one, caplog):
    said = "unable to create new content in namespace default because it is being terminated"
    one.client.refuse["Service"] = classify(403, said, "apply Service default/demo")
    outcome = await one.run()
    assert outcome.pause > 60
    assert "status" not in one.client.writes
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


async def test_a_broken_checkpoint_is_a_problem_of_the_spec():
    def facts(uri):
        raise FactsError("config.json: not JSON")

    one = OneDeployment(facts)
    await one.run()
    planned = one.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", "InvalidSpec")
    assert planned["message"].startswith("spec.model.uri: config.json: not JSON")
    assert one.client.writes == {"status": 1}


async def test_without_what_groups_need_the_others_are_written_but_nothing_is_pruned(one):
    await one.settle()
    one.cluster.delete("Service", "default", "demo-group")
    one.client.refuse["Service"] = classify(403, "not allowed", "apply Service default/demo")
    one.change(replicas=0, router={"replicas": 3, "port": 8001})
    await one.run()
    assert one.cluster.get("Deployment", "default", "demo-router")["spec"]["replicas"] == 3
    assert len(one.cluster.list("StatefulSet")) == 1, "pruned although something was refused"
    one.client.refuse.clear()
    await one.run()
    assert one.cluster.list("StatefulSet") == []


@pytest.mark.parametrize("kind", ["PodDisruptionBudget", "Role", "Deployment"])
async def test_what_groups_do_not_need_keeps_none_from_leaving(one, kind):
    one.change(replicas=3)
    await one.settle()
    one.client.refuse[kind] = classify(403, "not allowed", f"apply {kind}")
    one.cluster.delete(kind, "default", one.cluster.list(kind, "default")[0]["metadata"]["name"])
    one.change(replicas=1)
    await one.run()
    assert one.client.writes["delete StatefulSet"] == 2
    assert one.condition("Reconciled")["reason"] == "Forbidden"


@pytest.mark.parametrize("how", ["absent", "being deleted"])
async def test_children_of_what_is_gone_are_not_made_again(one, how):
    """A watch that lags shows an LLMDeployment that is gone; its children vanish first."""
    await one.settle()
    if how == "being deleted":
        one.cluster.patch("LLMDeployment", *KEY, {"metadata": {"finalizers": ["test/hold"]}})
    one.cluster.delete("LLMDeployment", *KEY)
    one.cluster.delete("Service", "default", "demo")
    uid = one.store.find("Service", "default", "demo").uid
    one.store.remove("Service", "default", "demo", uid)
    assert (await one.run(hear=False)).gone
    assert one.client.writes == {}


async def test_that_our_kind_is_not_served_for_a_moment_is_no_end(one):
    """While a CRD is replaced, or an API server starts: children that vanish meanwhile are made again."""
    await one.settle()
    one.cluster.delete("Service", "default", "demo")
    one.client.unserved.add("LLMDeployment")
    with pytest.raises(Transient, match="does not serve LLMDeployment"):
        await one.run()
    one.client.unserved.clear()
    await one.run()
    assert one.cluster.find("Service", "default", "demo")


async def test_a_kind_that_is_not_served_stops_nothing_else(one):
    one.change(monitoring={"podMonitor": True})
    await one.run()
    assert one.client.writes["Deployment"] == 1
    integrated = one.condition("Integrated")
    assert (integrated["status"], integrated["reason"]) == ("False", "CRDMissing")
    assert one.condition("Reconciled")["status"] == "True"
