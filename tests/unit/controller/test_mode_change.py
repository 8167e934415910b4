"""A change of spec.router.mode on an API server: what is there at every step, so that no request is lost."""

import pytest
from operator_parts import operating

from manta_operator.controller import discovery
from manta_operator.controller import watcher as watchers

GROUPS = {"InferencePool": "inference.networking.k8s.io", "HTTPRoute": "gateway.networking.k8s.io"}
EDGE = {"gateway": {"parentRefs": [{"name": "edge"}]}}


def crd(kind, group):
    """A CRD of somebody else, which takes everything."""
    plural = kind.lower() + "s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def play(parts, name, ready):
    """Say of a router's Deployment how many of its pods serve."""
    status = {"status": {"replicas": 2, "readyReplicas": ready}}
    return parts.cluster.find("Deployment", "default", name) and parts.cluster.patch_status(
        "Deployment", "default", name, status
    )


def leads_to(parts):
    """The kind of the object that the HTTPRoute leads to."""
    route = parts.cluster.find("HTTPRoute", "default", "demo")
    return route and route["spec"]["rules"][0]["backendRefs"][0].get("kind", "Service")


def there(parts):
    """Which of both ways' objects there are."""
    both = [("Deployment", "demo-router"), ("Service", "demo"), ("Deployment", "demo-epp"), ("Service", "demo-epp")]
    return [name for kind, name in both if parts.cluster.find(kind, "default", name)]


ENVOY, POOL = ["demo-router", "demo"], ["demo-epp", "demo-epp"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(watchers, "ABSENT_SECONDS", 0.1)
    monkeypatch.setattr(watchers, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(discovery, "FRESH_SECONDS", 0.05)


async def test_the_old_way_serves_until_the_new_one_does_and_back():
    async with operating(**EDGE) as parts:
        for kind, group in GROUPS.items():
            parts.cluster.create(crd(kind, group))
        await parts.until(lambda: play(parts, "demo-router", 2))
        parts.change(router={"mode": "inference-pool"})
        await parts.until(lambda: there(parts) == ENVOY + POOL)
        play(parts, "demo-epp", 1)
        await parts.until(lambda: parts.cluster.find("InferencePool", "default", "demo"))
        play(parts, "demo-epp", 2)
        await parts.until(lambda: there(parts) == POOL)
        assert leads_to(parts) == "InferencePool", "before the old way was taken away"
        parts.change(router={"mode": "envoy"})
        await parts.until(lambda: there(parts) == ENVOY + POOL)
        assert leads_to(parts) == "InferencePool"
        play(parts, "demo-router", 2)
        await parts.until(lambda: there(parts) == ENVOY)
        assert leads_to(parts) == "Service"
        await parts.until(lambda: parts.cluster.find("InferencePool", "default", "demo") is None)


async def test_without_the_crd_nothing_is_taken_away():
    async with operating(**EDGE) as parts:
        await parts.until(lambda: play(parts, "demo-router", 2))
        parts.change(router={"mode": "inference-pool"})
        await parts.until(lambda: play(parts, "demo-epp", 2))
        await parts.until(lambda: "InferencePool" in parts.condition("Integrated").get("message", ""))
        assert there(parts) == ENVOY + POOL
