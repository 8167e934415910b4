"""What one pass writes, on a cluster in memory: the box's API server without the network.

The adapter below stands where the HTTP client does; everything behind it is the real API server.
"""

from collections import Counter

import pytest

from manta_operator.api.crd import custom_resource_definition
from manta_operator.box.apiserver.server import ApiServer
from manta_operator.controller.errors import Forbidden, Transient, classify
from manta_operator.controller.reconcile import Memory, Reconciler
from manta_operator.facts.models import FactsError

KEY = ("default", "demo")
SPEC = {"model": {"uri": "hf://org/model"}, "accelerator": {"type": "cpu"}}


class Direct:
    """KubeClient's four calls on an in-process cluster; counts writes, and fails where it is told to."""

    def __init__(self):
        self.cluster = ApiServer(token="t", service_addresses=(f"127.2.0.{n}" for n in range(1, 200))).cluster
        self.cluster.create(custom_resource_definition())
        self.writes = Counter()
        self.refuse = {}

    async def get(self, api_version, kind, namespace, name):
        return self.cluster.find(kind, namespace, name)

    async def list(self, api_version, kind, namespace=None, selector=None):
        return self.cluster.list(kind, namespace, dict([selector.split("=")]))

    async def apply(self, obj, subresource=None):
        kind, name, namespace = obj["kind"], obj["metadata"]["name"], obj["metadata"]["namespace"]
        if kind in self.refuse and not subresource:
            raise self.refuse[kind]
        self.writes[kind if not subresource else "status"] += 1
        if subresource:
            return self.cluster.patch_status(kind, namespace, name, {"status": obj["status"]})
        if self.cluster.find(kind, namespace, name) is None:
            return self.cluster.create(obj)
        return self.cluster.patch(kind, namespace, name, obj)

    async def merge(self, obj):
        raise self.refuse[obj["kind"]]

    async def delete(self, api_version, kind, namespace, name, uid):
        self.writes[f"delete {kind}"] += 1
        self.cluster.delete(kind, namespace, name, uid=uid)


@pytest.fixture
def client():
    client = Direct()
    client.cluster.create(
        {
            "apiVersion": "manta.dev/v1alpha1",
            "kind": "LLMDeployment",
            "metadata": {"name": "demo", "namespace": "default"},
            "spec": SPEC,
        }
    )
    return client


@pytest.fixture
def one_pass(client):
    reconciler, memory = Reconciler(client, lambda _: None), Memory()

    async def run(full=False):
        client.writes.clear()
        return await reconciler.run(*KEY, memory, full=full)

    return run


def condition(client, kind):
    entries = client.cluster.get("LLMDeployment", *KEY)["status"]["conditions"]
    return next(entry for entry in entries if entry["type"] == kind)


async def test_the_first_pass_writes_everything_once_and_the_second_nothing(client, one_pass):
    await one_pass(full=True)
    assert client.writes == {
        "ServiceAccount": 1,
        "Role": 1,
        "RoleBinding": 1,
        "ConfigMap": 1,
        "Service": 2,
        "PodDisruptionBudget": 2,
        "NetworkPolicy": 2,
        "StatefulSet": 1,
        "Deployment": 1,
        "status": 1,
    }
    await one_pass()  # sees its own group now
    await one_pass()
    assert client.writes == {}


async def test_a_full_pass_applies_again_and_writes_no_status(client, one_pass):
    for _ in range(3):
        await one_pass()
    await one_pass(full=True)
    assert sum(client.writes.values()) == 12
    assert "status" not in client.writes


async def test_only_what_differs_is_applied(client, one_pass):
    for _ in range(3):
        await one_pass()
    client.cluster.patch("LLMDeployment", *KEY, {"spec": {"router": {"replicas": 3}}})
    await one_pass()
    assert client.writes == {"Deployment": 1, "status": 1}


async def test_a_surplus_group_is_pruned(client, one_pass):
    client.cluster.patch("LLMDeployment", *KEY, {"spec": {"replicas": 2}})
    await one_pass()
    client.cluster.patch("LLMDeployment", *KEY, {"spec": {"replicas": 1}})
    await one_pass()
    assert client.writes["delete StatefulSet"] == 1
    [left] = client.cluster.list("StatefulSet", "default")
    assert left["metadata"]["name"].endswith("-0")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Forbidden("apply Deployment: no permission"), "Forbidden"),
        (Transient("apply Deployment: away"), "Transient"),
        (classify(422, "denied by policy", "apply Deployment"), "InvalidObject"),
    ],
)
async def test_a_refusal_becomes_a_condition_and_a_retry(client, one_pass, error, reason, caplog):
    client.refuse["Deployment"] = error
    for _ in range(3):
        assert (await one_pass()).retry
    for kind in ("Progressing", "Ready"):
        assert (condition(client, kind)["reason"], condition(client, kind)["message"]) == (reason, error.message)
    assert caplog.text.count(error.message) == 1, "said once, not at every try"
    client.refuse.clear()
    assert not (await one_pass()).retry
    assert client.writes["Deployment"] == 1
    assert client.writes["ServiceAccount"] == 0
    assert condition(client, "Progressing")["reason"] == "Starting"


async def test_a_broken_checkpoint_is_a_problem_of_the_spec(client):
    def facts(uri):
        raise FactsError("config.json: not JSON")

    await Reconciler(client, facts).run(*KEY, Memory(), full=True)
    planned = condition(client, "Planned")
    assert (planned["status"], planned["reason"]) == ("False", "InvalidSpec")
    assert planned["message"].startswith("spec.model.uri: config.json: not JSON")
    assert client.writes == {"status": 1}


async def test_groups_of_somebody_else_are_neither_counted_nor_pruned(client, one_pass):
    foreign = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": "demo-old",
            "namespace": "default",
            "labels": {"manta.dev/deployment": "demo", "manta.dev/revision": "0", "manta.dev/replica": "9"},
        },
        "spec": {
            "serviceName": "x",
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    }
    before = client.cluster.create(foreign)
    for _ in range(2):
        await one_pass(full=True)
    assert client.cluster.get("StatefulSet", "default", "demo-old") == before
    assert client.cluster.get("LLMDeployment", *KEY)["status"]["replicas"] == 1


@pytest.mark.parametrize("how", ["absent", "being deleted"])
async def test_what_is_going_is_left_alone(client, one_pass, how):
    if how == "being deleted":
        client.cluster.patch("LLMDeployment", *KEY, {"metadata": {"finalizers": ["test/hold"]}})
    client.cluster.delete("LLMDeployment", *KEY)
    assert (await one_pass(full=True)).gone
    assert client.writes == {}


async def test_one_refusal_does_not_stop_the_others_but_nothing_is_pruned(client, one_pass):
    await one_pass(full=True)
    await one_pass()
    client.refuse["Service"] = classify(403, "not allowed", "apply Service default/demo")
    spec = client.cluster.get("LLMDeployment", *KEY)["spec"] | {"replicas": 0}
    client.cluster.patch("LLMDeployment", *KEY, {"spec": spec | {"router": {"policy": "least-load", "replicas": 3}}})
    outcome = await one_pass(full=True)
    assert outcome.retry
    assert client.cluster.get("Deployment", "default", "demo-router")["spec"]["replicas"] == 3
    assert len(client.cluster.list("StatefulSet")) == 1, "pruned although something was refused"
    client.refuse.clear()
    await one_pass()
    assert client.cluster.list("StatefulSet") == []


async def test_groups_of_several_pods_get_a_token_once(client, one_pass):
    sharded = {"parallelism": {"tensor": 2}, "accelerator": {"type": "cpu", "perPod": 1}}
    client.cluster.patch("LLMDeployment", *KEY, {"spec": sharded})
    await one_pass(full=True)
    made = client.cluster.get("Secret", "default", "demo-group")["data"]["token"]
    assert len(made) > 40
    await one_pass(full=True)
    assert client.cluster.get("Secret", "default", "demo-group")["data"]["token"] == made
    client.cluster.delete("Secret", "default", "demo-group")
    await one_pass(full=True)
    assert client.cluster.get("Secret", "default", "demo-group")["data"]["token"] != made


async def test_a_single_pod_needs_no_token(client, one_pass):
    await one_pass(full=True)
    assert client.cluster.find("Secret", "default", "demo-group") is None
