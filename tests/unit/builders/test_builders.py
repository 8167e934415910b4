"""What the builders promise beyond the golden files: stability, revisions, overlays, real Kubernetes schemas."""

import kubernetes_validate
import pytest
from make import LLAMA_8B, TINY, deployment

from manta_operator.builders.desired import Desired, desire
from manta_operator.builders.overlay import overlay
from manta_operator.planning.observe import Observed

SPECS = {
    "plain": {},
    "quantized": {"engine": {"quantization": "fp8", "kvCacheDtype": "fp8", "maxModelLen": 4096, "args": ["--foo=1"]}},
    "from a claim": {"model": {"uri": "pvc://models/llama/8b"}},
    "from the node": {
        "model": {"uri": "file:///models/x"},
        "accelerator": {"type": "cpu"},
        "engine": {"maxModelLen": 4096},
    },
    "gated": {"model": {"revision": "main", "credentialsSecret": "hub", "cache": {"claim": "cache"}}},
    "bucket": {
        "model": {"uri": "s3://bucket/a/b", "endpoint": "http://m:9", "region": "x-1", "credentialsSecret": "s"}
    },
    "public bucket": {"model": {"uri": "gs://bucket"}, "engine": {"env": [{"name": "GOOGLE_BASE_URL", "value": "u"}]}},
    "image": {"model": {"uri": "oci://r.io/models/llama:8b#models", "credentialsSecret": "pull"}},
    "cached on the node": {"model": {"cache": {"hostPath": "/var/cache/models"}}},
    "sharded": {"parallelism": {"tensor": 8, "pipeline": 2}, "replicas": 2},
    "scheduled": {
        "scheduling": {
            "priorityClassName": "high",
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        }
    },
    "overlaid": {"podTemplate": {"spec": {"containers": [{"name": "engine", "env": [{"name": "A", "value": "b"}]}]}}},
}


def objects(facts=LLAMA_8B, **spec):
    desired = desire(deployment(**spec), facts, Observed())
    assert isinstance(desired, Desired), desired
    return desired


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_object_is_valid_for_the_real_schemas(spec):
    for obj in objects(**spec).objects:
        kubernetes_validate.validate(obj, "1.37", strict=True)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_building_twice_gives_the_same_objects(spec):
    assert objects(**spec) == objects(**spec)


@pytest.mark.parametrize(
    ("case", "spec", "same"),
    [
        ("replicas scale, they do not roll out", {"replicas": 5}, True),
        ("the router is not the engine", {"router": {"replicas": 3, "port": 80}}, True),
        ("another context length", {"engine": {"maxModelLen": 2048}}, False),
        ("another environment", {"engine": {"env": [{"name": "A", "value": "1"}]}}, False),
        ("another drain time", {"rollout": {"drainSeconds": 5}}, False),
        ("an overlay", {"podTemplate": {"metadata": {"annotations": {"a": "b"}}}}, False),
    ],
)
def test_the_revision_changes_with_the_template_alone(case, spec, same):
    assert (objects(**spec).plan.revision == objects().plan.revision) is same, case


def test_every_child_is_labelled_and_owned():
    for obj in objects(replicas=2).objects:
        metadata = obj["metadata"]
        assert metadata["labels"]["manta.dev/deployment"] == "demo"
        (owner,) = metadata["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == ("uid-1", True)


def test_rendering_without_an_api_server_invents_no_owner():
    desired = desire(deployment(uid=""), LLAMA_8B, Observed())
    assert isinstance(desired, Desired)
    assert all("ownerReferences" not in obj["metadata"] for obj in desired.objects)


def test_selectors_select_the_pods_they_are_for():
    built = objects(TINY, accelerator={"type": "cpu"})
    by_name = {(obj["kind"], obj["metadata"]["name"]): obj for obj in built.objects}
    engine = by_name["StatefulSet", f"demo-{built.plan.revision}-0"]
    labels = engine["spec"]["template"]["metadata"]["labels"]
    selectors = [
        engine["spec"]["selector"]["matchLabels"],
        by_name["Service", "demo-group"]["spec"]["selector"],
        by_name["PodDisruptionBudget", "demo-engine"]["spec"]["selector"]["matchLabels"],
        by_name["NetworkPolicy", "demo-engine"]["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
    router = by_name["Deployment", "demo-router"]["spec"]["template"]["metadata"]["labels"]
    assert by_name["Service", "demo"]["spec"]["selector"].items() <= router.items()


def test_a_chat_template_survives_the_kubelets_expansion():
    built = objects(model={"chatTemplate": "{{ '$(HOME)' }}"})
    statefulset = next(obj for obj in built.objects if obj["kind"] == "StatefulSet")
    args = statefulset["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--chat-template={{ '$$(HOME)' }}" in args


def engine_pod(**spec):
    """The spec of the engine pods of `spec`."""
    return next(obj for obj in objects(**spec).objects if obj["kind"] == "StatefulSet")["spec"]["template"]["spec"]


def test_a_cache_on_the_node_is_given_to_the_engines_user():
    pod = engine_pod(model={"cache": {"hostPath": "/var/cache/models"}})
    owner, fetch = pod["initContainers"]
    assert fetch["name"] == "fetch"
    (mount,) = owner["volumeMounts"]
    user = pod["securityContext"]["runAsUser"]
    assert owner["command"] == ["chown", f"{user}:{user}", mount["mountPath"]]
    assert (owner["securityContext"]["runAsUser"], owner["securityContext"]["runAsNonRoot"]) == (0, False)
    assert owner["securityContext"]["capabilities"] == {"add": ["CHOWN"], "drop": ["ALL"]}
    assert next(volume for volume in pod["volumes"] if volume["name"] == mount["name"])["hostPath"]


@pytest.mark.parametrize("cache", [{}, {"claim": "cache"}, {"sizeLimit": "1Gi"}], ids=str)
def test_no_other_cache_needs_root(cache):
    containers = engine_pod(model={"cache": cache})["initContainers"]
    assert [(container["name"], "runAsUser" in container["securityContext"]) for container in containers] == [
        ("fetch", False)
    ]


def test_services_next_door_do_not_reach_into_the_environment():
    workloads = [obj for obj in objects().objects if obj["kind"] in ("StatefulSet", "Deployment")]
    pods = [workload["spec"]["template"]["spec"] for workload in workloads]
    assert [pod["enableServiceLinks"] for pod in pods] == [False, False]


def test_engines_go_to_every_product_of_their_kind():
    (term,) = engine_pod()["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    (wanted,) = term["matchExpressions"]
    assert (wanted["key"], wanted["operator"]) == ("nvidia.com/gpu.product", "In")
    assert {"NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe"} <= set(wanted["values"])


def test_nodes_selected_by_hand_are_the_users_choice_alone():
    pod = engine_pod(scheduling={"nodeSelector": {"zone": "a"}})
    assert (pod["nodeSelector"], "affinity" in pod) == ({"zone": "a"}, False)


@pytest.mark.parametrize(
    ("case", "base", "patch", "expected"),
    [
        ("maps merge", {"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ("null removes", {"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ("plain lists are replaced", {"args": ["a"]}, {"args": ["b"]}, {"args": ["b"]}),
        (
            "named lists merge by name",
            {"containers": [{"name": "x", "image": "1"}, {"name": "y"}]},
            {"containers": [{"name": "x", "image": "2"}, {"name": "z"}]},
            {"containers": [{"name": "x", "image": "2"}, {"name": "y"}, {"name": "z"}]},
        ),
        (
            "a variable is replaced whole",
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
        ),
        (
            "tolerations add up",
            {"tolerations": [{"key": "a"}]},
            {"tolerations": [{"key": "b"}]},
            {"tolerations": [{"key": "a"}, {"key": "b"}]},
        ),
        ("a map over nothing", {}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
    ],
)
def test_overlay(case, base, patch, expected):
    before = repr(base)
    assert overlay(base, patch) == expected, case
    assert repr(base) == before


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"spec": 5}, "spec.podTemplate.spec"),
        ({"containers": []}, "spec.podTemplate.containers"),
        ({"metadata": "x"}, "spec.podTemplate.metadata"),
        ({"metadata": {"labels": ["a"]}}, "spec.podTemplate.metadata.labels"),
        (
            {"metadata": {"labels": {"manta.dev/deployment": "x"}}},
            "spec.podTemplate.metadata.labels[manta.dev/deployment]",
        ),
        ({"spec": {"containers": "x"}}, "spec.podTemplate.spec.containers"),
        ({"spec": {"containers": [1]}}, "spec.podTemplate.spec.containers[0]"),
        ({"spec": {"volumes": [{"emptyDir": {}}]}}, "spec.podTemplate.spec.volumes[0]"),
        ({"spec": {"containers": [{"name": "engine", "env": {"A": "b"}}]}}, "spec.podTemplate.spec.containers[0].env"),
    ],
)
def test_a_pod_template_that_cannot_be_merged_is_refused_at_its_field(template, path):
    (problem,) = desire(deployment(podTemplate=template), LLAMA_8B, Observed())
    assert problem.path == path
    assert problem.remedy
