"""`manta plan --diff`: what an apply would change, told without changing anything."""

import json
import urllib.request

import pytest
import yaml

from manta_operator.api.models import parse
from manta_operator.builders.desired import desire
from manta_operator.builders.protection import engine_policy, router_policy
from manta_operator.cli import diff, diff_command
from manta_operator.cli.rehearsal import Step, sentences
from manta_operator.cli.rest import APPLY, MERGE, CallFailed, path_of
from manta_operator.planning.observe import Observed

TOKEN = "t0ken"

SPEC = {"model": {"uri": "hf://org/model"}, "accelerator": {"type": "cpu"}}


def manifest(name="tiny", namespace=None, **spec):
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "metadata": metadata, "spec": SPEC | spec}


@pytest.fixture
def planned(cluster, manta):
    """Write a manifest and ask."""

    def ask(*options, **spec):
        path = cluster.folder / "tiny.yaml"
        path.write_text(yaml.safe_dump(manifest(**spec)))
        return manta("plan", "--diff", "-f", path, *options, kubeconfig=cluster.kubeconfig())

    return ask


def versions(cluster):
    kinds = ("LLMDeployment", "StatefulSet", "Deployment", "Service", "ConfigMap", "ServiceAccount")
    return [(kind, body["metadata"]["resourceVersion"]) for kind in kinds for body in cluster.do("list", kind)]


def test_a_new_deployment_creates_everything(cluster, planned):
    result = planned(replicas=2)
    assert result.exit_code == 1, result.output
    assert "+  replicas: 2" in result.stdout
    assert ", the first" in result.stdout
    created = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("  create")]
    assert "Deployment/tiny-router" in created
    assert sum(child.startswith("StatefulSet/tiny-") for child in created) == 2
    assert versions(cluster) == []


def test_no_difference_is_exit_code_0(cluster, planned):
    cluster.deployment("tiny")
    result = planned()
    assert (result.exit_code, result.stdout) == (0, "default/tiny: no difference\n")


def send(cluster, body, manager, path=""):
    """Apply an object, or merge a patch into the one at `path`, as `manager`."""
    metadata = body.get("metadata", {})
    kind = MERGE if path else APPLY
    path = path or path_of(body["apiVersion"], body["kind"], metadata["namespace"], metadata["name"])
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
    url = f"{cluster.url}{path}?fieldManager={manager}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="PATCH")
    with urllib.request.urlopen(request, timeout=10):
        pass


def live(cluster, **spec):
    """A deployment as the operator leaves it: its status and its groups, which serve."""
    body = cluster.deployment("tiny", replicas=2, **spec)
    deployment = parse(body)
    desired = desire(deployment, None, Observed())
    for child in desired.objects:
        send(cluster, child, "manta")
        if child["kind"] == "StatefulSet":
            serve(cluster, child)
    revision = desired.plan.revision
    cluster.do("patch_status", "LLMDeployment", "default", "tiny", {"status": {"revision": revision}})
    return revision


def serve(cluster, statefulset):
    name = statefulset["metadata"]["name"]
    ready = {"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "currentReplicas": 1}
    cluster.do("patch_status", "StatefulSet", "default", name, {"status": ready})
    uid = cluster.do("find", "StatefulSet", "default", name)["metadata"]["uid"]
    labels = statefulset["spec"]["template"]["metadata"]["labels"] | {"apps.kubernetes.io/pod-index": "0"}
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "uid": uid, "controller": True}
    metadata = {"name": f"{name}-0", "namespace": "default", "labels": labels, "ownerReferences": [owner]}
    spec = {"containers": [{"name": "engine", "image": "manta/x"}]}
    cluster.do("create", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    cluster.do("patch_status", "Pod", "default", f"{name}-0", {"status": status})


def clear(cluster):
    for kind in ("ConfigMap", "ServiceAccount", "Role", "RoleBinding", "PodDisruptionBudget", "NetworkPolicy"):
        for body in cluster.do("list", kind):
            cluster.do("delete", kind, body["metadata"]["namespace"], body["metadata"]["name"])


@pytest.fixture
def served(cluster):
    clear(cluster)
    cluster.do("create", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}})
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "64", "pods": "110"}}
    cluster.do("patch_status", "Node", None, "node-1", {"status": ready})
    yield live(cluster)
    cluster.do("delete", "Node", None, "node-1")
    clear(cluster)


def test_a_changed_template_is_a_rollout_and_its_steps_are_told(cluster, planned, served):
    before = versions(cluster)
    result = planned(replicas=2, engine={"maxModelLen": 512})
    assert result.exit_code == 1, result.output
    assert f"Revision {served} -> " in result.stdout
    assert "every engine pod is replaced" in result.stdout
    steps = result.stdout.partition("Rollout")[2]
    assert f"drain and remove tiny-{served}-" in steps
    assert steps.count("drain and remove") + steps.count(", tiny-" + served) >= 2
    assert versions(cluster) == before


def test_a_rollout_without_a_place_says_why_it_waits(cluster, planned, served):
    cluster.do("patch", "Node", None, "node-1", {"spec": {"unschedulable": True}})
    result = planned(replicas=2, engine={"maxModelLen": 512})
    waits = result.stdout.partition("Rollout, which waits:")[2]
    assert "waiting for nodes that suit the new template" in waits, result.stdout
    assert "drain and remove" not in waits


def test_scaling_down_replaces_no_pod_and_names_what_is_pruned(cluster, planned, served):
    result = planned(replicas=1)
    assert f"Revision {served} stays: no engine pod is replaced" in result.stdout
    (pruned,) = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("  prune")]
    assert pruned.startswith(f"StatefulSet/tiny-{served}-")
    assert "create" not in result.stdout


def test_a_changed_child_is_told_by_its_fields(cluster, planned, served):
    result = planned(replicas=2, router={"port": 9000})
    assert "  change  Service/tiny\n          spec.ports[0].port: 8000 -> 9000\n" in result.stdout


def test_an_operator_in_another_namespace_is_no_difference(cluster, planned, served):
    """Routers let it in from where it runs, which only it knows; what it has written tells."""
    deployment = parse(cluster.do("get", "LLMDeployment", "default", "tiny"))
    for policy in (router_policy, engine_policy):
        send(cluster, policy(deployment, "ops"), "manta")
    assert "NetworkPolicy" not in planned(replicas=2, router={"port": 9000}).stdout


def test_a_foreign_child_is_told_before_the_operator_meets_it(cluster, planned):
    spec = {"ports": [{"port": 80}]}
    metadata = {"name": "tiny", "namespace": "default"}
    cluster.do("create", {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    result = planned()
    assert "  refuse  Service/tiny\n          it exists and belongs to nobody" in result.stdout


@pytest.mark.parametrize(
    ("case", "spec", "options", "words"),
    [
        ("wrong field", {"engine": {"maxmodellen": 1}}, [], 'did you mean "maxModelLen"'),
        ("another namespace", {"namespace": "team"}, ["-n", "default"], "metadata.namespace is team"),
        ("both outputs", {}, ["-o", "json"], "exclude each other"),
        ("no such namespace", {"namespace": "nowhere"}, [], "no namespace nowhere: make it with `kubectl create names"),
    ],
)
def test_what_is_wrong_is_exit_code_2(case, spec, options, words, planned):
    result = planned(*options, **spec)
    assert (result.exit_code, words in result.stderr) == (2, True), result.output


def test_what_kubectl_applied_and_the_file_leaves_out_is_removed(cluster, planned):
    last = json.dumps(manifest(replicas=4, rollout={"surge": 1}))
    body = manifest(namespace="default", replicas=4, rollout={"surge": 1})
    body["metadata"]["annotations"] = {diff.LAST_APPLIED: last}
    cluster.do("create", body)
    lines = planned(replicas=4).stdout.splitlines()
    assert "-    surge: 1" in lines
    assert "+    surge: auto" in lines


def test_a_conflict_with_another_manager_is_told(cluster, planned):
    send(cluster, manifest(namespace="default"), "kubectl")
    send(
        cluster,
        {"spec": {"replicas": 3}},
        "autoscaler",
        "/apis/manta.dev/v1alpha1/namespaces/default/llmdeployments/tiny",
    )
    result = planned(replicas=5)
    assert result.exit_code == 1
    assert "-  replicas: 3" in result.stdout
    assert "+  replicas: 5" in result.stdout
    assert 'conflict with "autoscaler"' in result.stdout
    assert planned().stdout == "default/tiny: no difference\n"


@pytest.mark.parametrize(
    ("last", "wanted", "patch"),
    [
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"b": 1, "c": None}}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": "text"}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_the_patch_of_kubectl_apply(last, wanted, patch):
    annotated = {"metadata": {"annotations": {diff.LAST_APPLIED: json.dumps(last)}}}
    assert diff.merge_patch(annotated, wanted) == patch
    assert diff.merge_patch({"metadata": {}}, wanted) is None


def test_the_file_is_taken_as_applied_by_whom_it_was_applied_by():
    fields = {"fieldsV1": {"f:spec": {}}, "operation": "Apply"}
    entries = [
        {"manager": "argocd", "time": "2026-01-01T00:00:00Z"} | fields,
        {"manager": "manta-cli", "time": "2026-02-01T00:00:00Z"} | fields,
        {"manager": "manta", "time": "2026-03-01T00:00:00Z", "subresource": "status"} | fields,
        {"manager": "hpa", "time": "2026-03-01T00:00:00Z", "operation": "Update", "fieldsV1": {"f:spec": {}}},
    ]
    assert diff.field_manager({"metadata": {"managedFields": entries}}) == "manta-cli"
    assert diff.field_manager(None) == "kubectl"


def test_a_long_rollout_is_told_shortly():
    steps = [Step((f"new-{n}",), ()) if n % 2 else Step((), (f"old-{n}",)) for n in range(40)]
    lines = sentences(steps)
    assert len(lines) == 13
    assert lines[0] == "1. drain and remove old-0"
    assert lines[1] == "2. once they have left: start new-1"
    assert lines[2] == "3. once they serve: drain and remove old-2"
    assert lines[11] == "... 28 more in the same way"
    assert lines[12].startswith("40. ")


class Refusing:
    """An API server that lets nothing be read."""

    async def list(self, *_, **__):
        raise CallFailed(403, "Forbidden", "you cannot list", "GET")

    async def find(self, *_, **__):
        raise CallFailed(403, "Forbidden", "you cannot get", "GET")


async def test_what_may_not_be_read_is_unknown_and_no_failure():
    assert await diff_command._room(Refusing(), None) == (None, "not known: you cannot list")
    child = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "n", "name": "s"}}
    change = await diff_command._child(Refusing(), child, "u")
    assert (change.verb, change.child, change.detail) == ("unknown", "Service/s", ("you cannot get",))


def test_it_looks_into_the_catalog_that_the_operator_reads(cluster, planned):
    from manta_operator.api import names

    config = {"architectures": ["LlamaForCausalLM"], "num_attention_heads": 8, "num_key_value_heads": 2}
    config |= {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "vocab_size": 2048}
    models = {"org/model": {"config": config | {"max_position_embeddings": 1024}}}
    metadata = {"namespace": names.OPERATOR_NAMESPACE, "name": names.CATALOG}
    assert "no catalog has it" in planned().stdout
    cluster.do("create", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": metadata["namespace"]}})
    data = {"models.yaml": yaml.safe_dump(models)}
    cluster.do("create", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    known = planned().stdout
    cluster.do("delete", "ConfigMap", *metadata.values())
    assert "no catalog has it" not in known
    assert "of weights" in known
