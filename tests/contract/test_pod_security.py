"""Our pods conform to the Pod Security Standard "restricted", but for what a folder of the node makes impossible."""

from pathlib import Path
from typing import Any

import pytest
from helm import parsed
from pod_security import violations

GOLDEN = Path(__file__).parents[1] / "golden"

EXCEPTIONS = {
    # spec.model.uri file:///…: a folder of the node is a hostPath volume, which the standard refuses whatever it holds.
    ("tiny", "StatefulSet"): {"restricted volume types"},
    ("tiny-autoscaled", "StatefulSet"): {"restricted volume types"},
    ("tiny-pipeline", "StatefulSet"): {"restricted volume types"},
    ("tiny-sharded", "StatefulSet"): {"restricted volume types"},
    ("tiny-tenants", "StatefulSet"): {"restricted volume types"},
    # RDMA pins memory: IPC_LOCK, which the example asks for in its podTemplate.
    ("deepseek-rdma", "StatefulSet"): {"unrestricted capabilities"},
    # spec.model.cache.hostPath: the kubelet makes the folder for root, and fsGroup does not apply to it, so a container
    # that may only chown gives it to the engine's user first. A claim as cache needs none of this.
    ("llama-405b-multinode", "StatefulSet"): {
        "restricted volume types",
        "runAsNonRoot != true",
        "runAsUser=0",
        "unrestricted capabilities",
    },
}


def workloads() -> list[Any]:
    found = []
    for path in sorted(GOLDEN.glob("*.yaml")):
        for obj in parsed(path.read_text("utf-8")):
            if obj["kind"] in ("StatefulSet", "Deployment"):
                name = f"{path.stem} {obj['kind']} {obj['metadata']['name']}"
                found.append(pytest.param((path.stem, obj["kind"]), obj["spec"]["template"], id=name))
    return found


@pytest.mark.parametrize(("key", "template"), workloads())
def test_restricted(key: tuple[str, str], template: dict[str, Any]) -> None:
    assert violations(template) == EXCEPTIONS.get(key, set())


@pytest.mark.parametrize(
    ("change", "control"),
    [
        ({"hostNetwork": True}, "host namespaces"),
        ({"securityContext": {}}, "runAsNonRoot != true"),
        ({"securityContext": {"runAsNonRoot": True}}, "seccompProfile"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "restricted volume types"),
    ],
)
def test_what_does_not_conform_is_seen(change: dict[str, Any], control: str) -> None:
    container = {
        "name": "c",
        "image": "i",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    good = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {"containers": [container], "securityContext": good}
    assert violations({"spec": pod}) == set()
    assert control in violations({"spec": pod | change})


@pytest.mark.parametrize(
    ("change", "control"),
    [
        ({}, "allowPrivilegeEscalation != false"),
        ({"allowPrivilegeEscalation": False}, "unrestricted capabilities"),
        ({"runAsUser": 0}, "runAsUser=0"),
    ],
)
def test_a_container_that_does_not_conform_is_seen(change: dict[str, Any], control: str) -> None:
    assert control in violations({"spec": {"containers": [{"name": "c", "image": "i", "securityContext": change}]}})
