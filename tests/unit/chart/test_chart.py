"""The chart: what it renders is valid, restricted and its own; what it refuses, it refuses clearly."""

import subprocess
from typing import Any

import kubernetes_validate
import pytest
from helm import CHART, HELM, ROOT, Refused, parsed, render, run

import chart as generator
from manta_operator.builders.protection import OPERATOR_PODS

CUSTOM = {"PodMonitor", "Certificate"}
ISSUER = {"issuerRef": {"kind": "ClusterIssuer", "name": "ours"}}
NAMESPACES = ["team-a", "team-b"]
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "namespaces": {"namespaces": NAMESPACES},
    "namespaces alone": {"namespaces": NAMESPACES, "clusterRead.enabled": False, "crds.enabled": False},
    "everything": {
        "image": {"repository": "registry.example:5000/a/operator", "digest": f"sha256:{'0' * 64}",
                  "pullSecrets": ["pull"]},
        "operator": {
            "replicas": 3, "logFormat": "text",
            "priorityClassName": "system-cluster-critical", "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "control", "operator": "Exists"}], "podAnnotations": {"a": "b"},
            "podLabels": {"team": "ml"}, "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
            "affinity": {"nodeAffinity": {}},
        },
        "serviceAccount": {"name": "other", "annotations": {"cloud.example/identity": "x"}},
        "networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {}}]},
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "commonLabels": {"cost-centre": "7"},
        "crds": {"keep": False},
        "facts": {"catalog": "models", "hubs": ["https://hub.example", "http://mirror:8080/hf"], "readSecrets": True},
        "webhook": {"enabled": True},
    },
    "certificates of cert-manager": {
        "namespaces": NAMESPACES, "webhook": {"enabled": True, "certManager": ISSUER},
    },
    "nothing": {
        "crds.enabled": False, "podDisruptionBudget.enabled": False, "userRoles.enabled": False,
        "release.enabled": False, "facts.catalog": "",
    },
}  # fmt: skip


def every(kind: str, objects: list[dict]) -> list[dict]:
    return [body for body in objects if body["kind"] == kind]


@pytest.fixture(scope="module", params=CASES, name="objects")
def rendered(request: pytest.FixtureRequest) -> list[dict]:
    return render(CASES[request.param])


def test_lint() -> None:
    run("lint", "--strict", str(CHART))


def test_the_real_schemas_accept_every_object(objects: list[dict]) -> None:
    for body in objects:
        if body["kind"] not in CUSTOM:
            kubernetes_validate.validate(body, "1.37", strict=True)


def test_standard_labels_are_on_every_object(objects: list[dict]) -> None:
    for body in objects:
        labels = body["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "manta"
        if body["kind"] != "CustomResourceDefinition":
            wanted = {"instance", "component", "part-of", "managed-by", "version"}
            assert wanted <= {label.removeprefix("app.kubernetes.io/") for label in labels}, body["metadata"]["name"]
            assert labels["app.kubernetes.io/managed-by"] != "manta", "the operator would take it for a child"


def test_names_are_unique_and_namespaces_given(objects: list[dict]) -> None:
    keys = [(body["kind"], body["metadata"].get("namespace"), body["metadata"]["name"]) for body in objects]
    assert len(keys) == len(set(keys))
    cluster = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    cluster |= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration"}
    assert all((kind in cluster) == (namespace is None) for kind, namespace, _ in keys)


def test_pods_keep_to_pod_security_restricted(objects: list[dict]) -> None:
    pods = [body["spec"]["template"]["spec"] for body in objects if body["kind"] in {"Deployment", "Job"}]
    assert pods
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
        assert all(set(volume) <= {"name", "emptyDir", "secret"} for volume in pod["volumes"])
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "privileged": False,
                "readOnlyRootFilesystem": True,
            }
            assert {"requests", "limits"} <= set(container["resources"])
            tmp, *others = container["volumeMounts"]
            assert tmp == {"name": "tmp", "mountPath": "/tmp"}
            assert all(mount["readOnly"] for mount in others)


def test_selectors_select_the_operator_alone(objects: list[dict]) -> None:
    deployment = every("Deployment", objects)[0]
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    for job in every("Job", objects):
        assert not selector.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    for body in every("PodDisruptionBudget", objects) + every("PodMonitor", objects):
        assert body["spec"]["selector"]["matchLabels"] == selector


def test_the_routers_let_the_operator_in(objects: list[dict]) -> None:
    labels = every("Deployment", objects)[0]["spec"]["template"]["metadata"]["labels"]
    assert OPERATOR_PODS.items() <= labels.items(), "NetworkPolicies of routers know the operator by these labels"


def test_the_hook_runs_when_the_operator_can_write_no_more(objects: list[dict]) -> None:
    hooks = [body for body in objects if "helm.sh/hook" in body["metadata"].get("annotations", {})]
    assert {body["metadata"]["annotations"]["helm.sh/hook"] for body in hooks} <= {"post-delete"}
    assert not {body["kind"] for body in hooks} & {"Deployment", "CustomResourceDefinition"}
    for job in every("Job", hooks):
        [container] = job["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["manta", "release"]
        assert {"--all", "--yes", "--force"} <= set(container["args"])
        assert job["spec"]["activeDeadlineSeconds"] < 300, "helm gives up after 5 minutes, and takes its account away"
        assert job["spec"]["ttlSecondsAfterFinished"]
        account = job["spec"]["template"]["spec"]["serviceAccountName"]
        assert account in {body["metadata"]["name"] for body in every("ServiceAccount", hooks)}


def test_the_hook_runs_where_and_as_the_operator_does() -> None:
    objects = render(CASES["everything"])
    [operator, job] = (every(kind, objects)[0]["spec"]["template"]["spec"] for kind in ("Deployment", "Job"))
    for key in ("nodeSelector", "tolerations", "priorityClassName", "imagePullSecrets", "securityContext"):
        assert job[key] == operator[key], key
    [theirs, ours] = ({each["name"]: each for each in pod["containers"][0]["env"]} for pod in (operator, job))
    assert ours["HTTPS_PROXY"] == theirs["HTTPS_PROXY"]
    given = every("Job", render(CASES["namespaces"]))[0]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert given[-1] == "--namespace=team-a,team-b"


def test_the_cluster_may_choose_the_user() -> None:
    """What helm calls deleting a default: null."""
    objects = render({f"operator.podSecurityContext.{key}": None for key in ("runAsUser", "runAsGroup", "fsGroup")})
    for kind in ("Deployment", "Job"):
        context = every(kind, objects)[0]["spec"]["template"]["spec"]["securityContext"]
        assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_an_account_that_is_there_already() -> None:
    objects = render({"serviceAccount": {"create": False, "name": "theirs"}})
    assert "theirs" not in {body["metadata"]["name"] for body in every("ServiceAccount", objects)}
    assert every("Deployment", objects)[0]["spec"]["template"]["spec"]["serviceAccountName"] == "theirs"
    assert {"theirs", "manta-operator-release"} == {
        subject["name"]
        for body in every("RoleBinding", objects) + every("ClusterRoleBinding", objects)
        for subject in body["subjects"]
    }


@pytest.mark.parametrize("name", ["true", "123", "1e3"])
def test_names_that_yaml_would_read_as_something_else(name: str) -> None:
    objects = render({"fullnameOverride": name, "namespaces": [name], "image.pullSecrets": [name]}, release=name)
    for body in objects:
        assert isinstance(body["metadata"]["name"], str)
        assert isinstance(body["metadata"].get("namespace", ""), str)
        assert all(isinstance(label, str) for label in body["metadata"]["labels"].values()), body


def test_bindings_bind_what_is_there(objects: list[dict]) -> None:
    accounts = {body["metadata"]["name"] for body in every("ServiceAccount", objects)}
    for body in every("RoleBinding", objects) + every("ClusterRoleBinding", objects):
        roles = every(body["roleRef"]["kind"], objects)
        place = body["metadata"].get("namespace")
        assert (place, body["roleRef"]["name"]) in [
            (role["metadata"].get("namespace"), role["metadata"]["name"]) for role in roles
        ]
        assert {subject["name"] for subject in body["subjects"]} <= accounts


def test_default_is_what_kubectl_installs() -> None:
    text = (ROOT / "deploy/install.yaml").read_text()
    assert text == generator.manifest(), "deploy/install.yaml is out of date: run make chart, then read the diff"


def test_kustomize_takes_all_of_it() -> None:
    done = subprocess.run(
        [HELM.with_name("kubectl"), "kustomize", str(ROOT / "deploy")], check=True, capture_output=True, text=True
    )
    names = {(body["kind"], body["metadata"]["name"]) for body in parsed(done.stdout)}
    listed = parsed((ROOT / "deploy/install.yaml").read_text())
    assert names == {(body["kind"], body["metadata"]["name"]) for body in listed if body}


def test_deleting_what_kubectl_installs_deletes_no_model() -> None:
    """The namespace and the CRD, with every LLMDeployment, are in a kustomization of their own."""
    outlives = {"Namespace", "CustomResourceDefinition"}
    for folder, kinds in ((ROOT / "deploy", set()), (ROOT / "deploy/prepare", outlives)):
        command = [HELM.with_name("kubectl"), "kustomize", str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert {body["kind"] for body in parsed(done.stdout)} & outlives == kinds


def test_an_image_that_nobody_named_cannot_be_a_strangers() -> None:
    with pytest.raises(Refused, match=r"set image\.repository=registry\.example/manta/operator"):
        render({"image.repository": ""})
    kubectl = [body for body in parsed((ROOT / "deploy/install.yaml").read_text()) if body]
    image = every("Deployment", kubectl)[0]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.startswith("registry.invalid/"), "RFC 6761: no such host, ever"


def test_generated_parts_are_up_to_date() -> None:
    crd = (ROOT / "crds/manta.dev_llmdeployments.yaml").read_text()
    assert (CHART / "templates/crds/llmdeployments.yaml").read_text() == generator.crd_template(crd), "run make chart"
    for name, listed in generator.RULES.items():
        assert (CHART / f"files/{name}.yaml").read_text() == generator.rules(listed), "run make chart"
    assert (CHART / "files/guarded.yaml").read_text() == generator.guarded(), "run make chart"
    assert (ROOT / "deploy/prepare/prepare.yaml").read_text() == generator.prepare(crd), "run make chart"


def test_braces_in_the_crd_survive() -> None:
    crd = "metadata:\n  name: x\nspec:\n  pattern: a{{2}}\n"
    assert 'pattern: a{{ "{{" }}2}}' in generator.crd_template(crd)


def test_crd_is_upgraded_and_kept() -> None:
    crd = every("CustomResourceDefinition", render())[0]
    assert crd["metadata"]["annotations"] == {
        "argocd.argoproj.io/sync-wave": "-1",
        "helm.sh/resource-policy": "keep",
    }
    dropped = every("CustomResourceDefinition", render(CASES["everything"]))[0]
    assert "helm.sh/resource-policy" not in dropped["metadata"]["annotations"]
    assert not (CHART / "crds").exists(), "helm never upgrades what is there"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"operator.replicas": 0}, "at '/operator/replicas': minimum: got 0, want 1"),
        ({"namespaces": "all"}, "at '/namespaces': got string, want array"),
        ({"namespaces": ["Team_A"]}, "at '/namespaces/0': 'Team_A' does not match pattern"),
        ({"operator.logFormat": "xml"}, "at '/operator/logFormat': value must be one of 'text', 'json'"),
        ({"crd.enabled": False}, "additional properties 'crd' not allowed"),
        ({"image.repository": "Registry.example/x"}, "at '/image/repository'"),
        ({"operator.podLabels": {"app.kubernetes.io/name": "x"}}, "at '/operator/podLabels/app.kubernetes.io~1name'"),
        ({"commonLabels": {"helm.sh/chart": "x"}}, "at '/commonLabels/helm.sh~1chart'"),
        ({"podMonitor.interval": "soon"}, "at '/podMonitor/interval'"),
        ({"operator.resources.requests": {"cpu": "lots"}}, "at '/operator/resources/requests/cpu'"),
        ({"operator.hostPaths": {"/m": "/m"}}, "at '/operator': additional properties 'hostPaths'"),
        ({"operator.extraEnv": [{"name": "HOME", "value": "/"}]}, "at '/operator/extraEnv/0/name'"),
        ({"serviceAccount.create": False}, "at '/serviceAccount/name': minLength: got 0, want 1"),
        ({"operator": None}, "missing property 'operator'"),
        ({"namespaces": None}, "missing property 'namespaces'"),
        ({"operator.resources.requests": {"nvidia.com/gpu": 1}}, "at '/operator/resources/requests'"),
    ],
    ids=str,
)
def test_nonsense_is_refused_with_the_place(values: dict, said: str) -> None:
    with pytest.raises(Refused, match="values don't meet the specifications of the schema") as refused:
        render(values)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("release", "name"),
    [("manta", "manta-operator"), ("prod", "prod-manta-operator"), ("m" * 53, f"{'m' * 53}-manta-operator"[:52])],
)
def test_full_name(release: str, name: str) -> None:
    assert every("Deployment", render(release=release))[0]["metadata"]["name"] == name.rstrip("-")


def test_one_namespace_or_all() -> None:
    everywhere, some, alone = (render(CASES[case]) for case in ("default", "namespaces", "namespaces alone"))

    def roles(kind: str, objects: list[dict]) -> set[str]:
        names = {(body["metadata"].get("namespace"), body["metadata"]["name"]) for body in every(kind, objects)}
        return {f"{place}/{name}" if place else name for place, name in names if "view" not in name}

    def arguments(objects: list[dict]) -> list[str]:
        given = every("Deployment", objects)[0]["spec"]["template"]["spec"]["containers"][0]["args"]
        return [argument for argument in given if argument.startswith("--namespace")]

    edit = "manta-operator-edit"
    hook = "manta-operator-release"
    assert roles("ClusterRole", everywhere) == {"manta-operator", "manta-operator-read", edit, hook}
    own = {"manta-system/manta-operator-lease", "manta-system/manta-operator-catalog"}
    assert roles("Role", everywhere) == own
    assert arguments(everywhere) == []
    assert roles("ClusterRole", some) == {"manta-operator-read", edit, hook}
    assert roles("ClusterRole", alone) == {edit}
    serving = {f"{team}/manta-operator" for team in NAMESPACES}
    assert roles("Role", some) == {*own, *serving}, "the hook's rights must not go with a namespace"
    assert roles("Role", alone) == {*own, *serving, *(f"{team}/{hook}" for team in NAMESPACES)}
    assert arguments(some) == ["--namespace=team-a", "--namespace=team-b"]
