"""What a user sees: apply twice, describe, events, wait, what other projects' kinds do that are not installed."""

import json
import shutil
import subprocess

import pytest
from cluster_space import KIND


@pytest.fixture
def kubectl(space):
    """kubectl in the test's namespace; what it prints."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("no kubectl on this machine")

    def call(*arguments, document=None):
        command = [program, f"--kubeconfig={space.server.kubeconfig}", f"--namespace={space.name}", *arguments]
        text = None if document is None else json.dumps(document)
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


@pytest.mark.parametrize("sort", ["long", "short"])
def test_apply_twice_is_no_diff(space, sort):
    """A manifest (tolerations with operator: Equal, or without) applied twice, server-side: no resourceVersion moves"""
    body = space.body("demo")
    if sort == "short":
        for part in (body["spec"], body["spec"]["router"]):
            [toleration] = part["scheduling"]["tolerations"]
            part["scheduling"] = part["scheduling"] | {"tolerations": [_without_operator(toleration)]}
    space.cluster.apply(body, "argocd-controller")
    space.serving("demo")
    before = space.still("demo")
    answer = space.cluster.apply(body, "argocd-controller")
    assert answer["metadata"]["resourceVersion"] == before["LLMDeployment/demo"]
    dry = space.cluster.apply(body, "argocd-controller", dryRun="All")
    assert dry["spec"] == space.get(KIND, "demo")["spec"]
    assert space.still("demo") == before


def _without_operator(toleration):
    return {key: value for key, value in toleration.items() if key != "operator"}


def test_kubectl_apply_diff_and_wait(space, kubectl):
    """`kubectl apply`, `wait --for=condition=Ready`, then `diff` finds nothing and `apply` says unchanged."""
    body = space.body("demo")
    kubectl("apply", "-f", "-", document=body)
    kubectl("wait", "--for=condition=Ready", "llmd/demo", "--timeout=50s")
    assert kubectl("diff", "-f", "-", document=body) == ""
    assert "unchanged" in kubectl("apply", "-f", "-", document=body)


def test_kubectl_describe_tells_the_story(space, kubectl):
    """`kubectl describe llmd/demo` shows every condition with its reason, the decisions, and the events below."""
    space.make("demo")
    space.serving("demo")
    space.until("an event is there", lambda: space.events("demo"))
    said = kubectl("describe", "llmd/demo")
    for word in ("Planned", "ModelAvailable", "Reconciled", "Progressing", "Available", "Degraded", "Ready"):
        assert word in said
    assert "Decisions:" in said
    assert "Events:" in said
    told = said.partition("Events:")[2]
    assert "<none>" not in told
    assert "Serving" in told or "Settled" in told


def test_events_are_told_once(space):
    """Each turn is one event: a scale-up and a failure are told, and nothing is told twice in quiet seconds."""
    space.make("demo")
    space.serving("demo")
    space.until("it is told that it serves", lambda: any(r == "Serving" for _, r, _ in space.events("demo")))
    before = space.events("demo")
    assert len(before) == len(set(before))
    space.stays("the events", lambda: space.events("demo") == before, seconds=3)
    space.change("demo", parallelism={"tensor": 3})
    space.until("the refusal is told", lambda: any(r == "InvalidSpec" for _, r, _ in space.events("demo")))
    [refused] = [each for each in space.events("demo") if each[1] == "InvalidSpec"]
    assert refused[0] == "Warning"


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("PodMonitor", {"monitoring": {"podMonitor": True}}),
        ("HTTPRoute", {"gateway": {"parentRefs": [{"name": "public"}]}}),
    ],
)
def test_a_kind_that_is_not_installed_is_a_condition(space, kind, spec):
    """The CRD of an integration is missing: Integrated=CRDMissing says so, and everything else serves"""
    if space.cluster.serves(kind):
        pytest.skip(f"this cluster serves {kind}")
    space.make("demo", **spec)
    told = space.becomes("demo", "Integrated", "False", "CRDMissing")
    assert kind in told["message"]
    space.becomes("demo", "Available", "True")
    space.becomes("demo", "Progressing", "False", "Settled")
    space.change("demo", monitoring=None, gateway=None)
    space.serving("demo")
    conditions = {entry["type"] for entry in space.status("demo")["conditions"]}
    assert "Integrated" not in conditions
