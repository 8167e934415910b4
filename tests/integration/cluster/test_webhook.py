"""The admission webhook on an API server: refused before it is stored, warned, never locked out, by every replica."""

import contextlib

import pytest
from cluster_rights import RBAC
from cluster_space import KIND
from cluster_started import free_ports

from manta_operator.box.cluster import ApiError
from manta_operator.controller import permissions

SECONDS = 180
"""An operator starts in some seconds, or on a machine that is full of other things in a minute."""
CONFIGURATION = "ValidatingWebhookConfiguration"
LARGE = {
    "model": {"uri": "hf://meta-llama/Llama-3.3-70B-Instruct"},
    "accelerator": {"type": "nvidia-l4", "perPod": 1},
    "parallelism": {"tensor": 1, "pipeline": 1},
}


@pytest.fixture
def configured(space):
    """Makes a configuration that leads to a port of this machine, and lets an operator be trusted by it."""
    made = []

    def configure(port):
        name = f"{space.name}-webhook"
        [rule] = permissions.rules(permissions.WEBHOOK)
        role = {"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": name}}
        subject = {"kind": "ServiceAccount", "name": "manta-operator", "namespace": space.name}
        reference = {"apiGroup": RBAC.partition("/")[0], "kind": "ClusterRole", "name": name}
        space.cluster.apply(role | {"rules": [rule | {"resourceNames": [name]}]}, "tests")
        space.cluster.apply(role | {"kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [subject]}, "tests")
        space.cluster.create(configuration(name, space.name, port))
        made.append(name)
        return name

    yield configure
    for name in made:
        for kind in (CONFIGURATION, "ClusterRoleBinding", "ClusterRole"):
            with contextlib.suppress(ApiError):
                space.cluster.delete(kind, None, name)


def configuration(name, namespace, port):
    rule = {"apiGroups": ["manta.dev"], "apiVersions": ["v1alpha1"], "operations": ["CREATE", "UPDATE"]}
    selector = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [namespace]}
    hook = {
        "name": "fit.llmdeployments.manta.dev",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": f"https://127.0.0.1:{port}/validate"},
        "failurePolicy": "Ignore",
        "namespaceSelector": {"matchExpressions": [selector]},
        "rules": [rule | {"resources": ["llmdeployments"]}],
        "sideEffects": "None",
        "timeoutSeconds": 30,
    }
    group = "admissionregistration.k8s.io/v1"
    return {"apiVersion": group, "kind": CONFIGURATION, "metadata": {"name": name}, "webhooks": [hook]}


def options(port, name):
    return (f"--webhook-port={port}", f"--webhook-name={name}")


def refusal(space, **spec):
    """What is said of a creation that is refused; empty if it is not, and nothing is stored all the same."""
    body = space.body("large", **spec)
    try:
        space.cluster.call("POST", space.cluster.path(KIND, space.name), body, query={"dryRun": "All"})
    except ApiError as error:
        if error.code != 422:
            raise
        return error.message
    return ""


def bundle(space, name):
    return space.cluster.get(CONFIGURATION, None, name)["webhooks"][0]["clientConfig"].get("caBundle", "")


def test_what_cannot_fit_is_refused_before_it_is_stored(space, own, configured):
    """A model that cannot fit is refused with what would; with policy warn it is stored; what stands can be edited"""
    [port] = free_ports(1)
    name = configured(port)
    space.make("before", **LARGE)  # while nobody answers
    own("one", *options(port, name))
    said = space.until("it is refused", lambda: refusal(space, **LARGE), SECONDS)
    assert 'admission webhook "fit.llmdeployments.manta.dev" denied the request' in said
    assert "does not fit" in said
    assert "spec.fit.policy to warn" in said
    assert space.get(KIND, "large") is None
    assert refusal(space) == "", "the tiny model fits"
    assert refusal(space, **LARGE, fit={"policy": "warn"}) == ""
    space.make("demo")
    space.serving("demo")
    with pytest.raises(ApiError, match="does not fit"):
        space.change("demo", **LARGE)
    space.change("demo", replicas=2)
    space.change("before", replicas=3)
    assert space.becomes("before", "Planned", "False", "DoesNotFit")["message"] in said
    space.cluster.delete(KIND, space.name, "before")
    space.until("it is gone, finalizer and all", lambda: space.get(KIND, "before") is None)


def test_a_standby_answers_too_and_nobody_answering_stops_nobody(space, own, configured):
    """A replica that waits for the lease refuses, too, and is trusted beside the leader; without an answer, go on"""
    leading, waiting = free_ports(2)
    name = configured(waiting)
    lease = ("--leader-elect", f"--lease-namespace={space.name}")
    first = own("one", *lease, *options(leading, name))
    space.until(
        "the first leads, and is trusted", lambda: "this replica acts" in first.log and bundle(space, name), SECONDS
    )
    alone = bundle(space, name)
    second = own("two", *lease, *options(waiting, name))
    said = space.until("the standby refuses it", lambda: refusal(space, **LARGE), SECONDS)
    assert "does not fit" in said
    assert "this replica acts" not in second.log
    assert len(bundle(space, name)) > 1.5 * len(alone), "both are trusted"
    second.end()
    assert refusal(space, **LARGE) == ""
