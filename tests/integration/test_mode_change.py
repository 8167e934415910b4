"""A change of spec.router.mode on an API server: what is there at every step, so that no request is lost."""

import asyncio

import pytest
from operator_parts import operating

from manta_operator.controller import discovery
from manta_operator.controller import watcher as watchers
from manta_operator.controller.client import KubeClient
from manta_operator.controller.errors import Forbidden
from manta_operator.controller.observing import Observer
from manta_operator.planning import mode_change

pytestmark = pytest.mark.integration

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
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}
            ],
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


def say(parts, resolved="True"):
    """Say as the Gateway that it has seen the HTTPRoute as it is now."""
    route = parts.cluster.get("HTTPRoute", "default", "demo")
    said = {"Accepted": "True", "ResolvedRefs": resolved}
    conditions = [
        {"type": kind, "status": status, "message": f"{kind} {status}.", "observedGeneration": generation_of(route)}
        for kind, status in said.items()
    ]
    parents = [{"parentRef": {"name": "edge"}, "conditions": conditions}]
    parts.cluster.patch_status("HTTPRoute", "default", "demo", {"status": {"parents": parents}})


def generation_of(route):
    return route["metadata"]["generation"]


ENVOY, POOL = ["demo-router", "demo"], ["demo-epp", "demo-epp"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(watchers, "ABSENT_SECONDS", 0.1)
    monkeypatch.setattr(watchers, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(discovery, "FRESH_SECONDS", 0.05)
    monkeypatch.setattr(mode_change, "SETTLE_SECONDS", 0.2)


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
        await parts.until(lambda: leads_to(parts) == "InferencePool")
        assert there(parts) == ENVOY + POOL, "no Gateway has said anything yet"
        say(parts)
        await parts.until(lambda: there(parts) == POOL)
        parts.change(router={"mode": "envoy"})
        await parts.until(lambda: there(parts) == ENVOY + POOL)
        assert leads_to(parts) == "InferencePool"
        play(parts, "demo-router", 2)
        await parts.until(lambda: leads_to(parts) == "Service")
        assert there(parts) == ENVOY + POOL
        say(parts)
        await parts.until(lambda: there(parts) == ENVOY)
        await parts.until(lambda: parts.cluster.find("InferencePool", "default", "demo") is None)


async def gone_to_a_pool(parts):
    """Change the mode, up to where all the new routers serve."""
    for kind, group in GROUPS.items():
        parts.cluster.create(crd(kind, group))
    await parts.until(lambda: play(parts, "demo-router", 2))
    await parts.until(lambda: leads_to(parts) == "Service")
    parts.change(router={"mode": "inference-pool"})
    await parts.until(lambda: parts.cluster.find("InferencePool", "default", "demo"))
    await parts.until(lambda: play(parts, "demo-epp", 2))


async def test_a_gateway_that_never_writes_a_status_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(mode_change, "PATIENCE_SECONDS", 1.0)
    async with operating(**EDGE) as parts:
        await gone_to_a_pool(parts)
        await parts.until(lambda: leads_to(parts) == "InferencePool")
        assert there(parts) == ENVOY + POOL
        await parts.until(lambda: there(parts) == POOL)


async def test_a_gateway_that_knows_no_pools_keeps_the_old_routers_and_is_told_of(monkeypatch):
    monkeypatch.setattr(mode_change, "PATIENCE_SECONDS", 0.3)
    async with operating(**EDGE) as parts:
        await gone_to_a_pool(parts)
        await parts.until(lambda: leads_to(parts) == "InferencePool")
        say(parts, resolved="False")
        told = await parts.until(lambda: (c := parts.condition("Integrated")).get("status") == "False" and c)
        assert told["reason"] == "RouteNotResolved"
        assert "ResolvedRefs False" in told["message"]
        await asyncio.sleep(0.5)
        assert there(parts) == ENVOY + POOL
        say(parts)
        await parts.until(lambda: there(parts) == POOL)


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "not watched"])
async def test_a_route_that_is_refused_leaves_the_old_routers(monkeypatch, seen):
    apply = KubeClient.apply

    async def refused(self, obj, *rest, **more):
        if obj["kind"] == "HTTPRoute" and obj["spec"]["rules"][0]["backendRefs"][0].get("kind") == "InferencePool":
            raise Forbidden("HTTPRoute demo: admission webhook denied it")
        return await apply(self, obj, *rest, **more)

    monkeypatch.setattr(KubeClient, "apply", refused)
    if not seen:
        monkeypatch.setattr(Observer, "_route", lambda *_: None)
    async with operating(**EDGE) as parts:
        await gone_to_a_pool(parts)
        await parts.until(lambda: parts.condition("Integrated").get("reason") == "Forbidden")
        await asyncio.sleep(0.3)  # longer than SETTLE_SECONDS
        assert (leads_to(parts), there(parts)) == ("Service", ENVOY + POOL)


async def test_without_the_crd_nothing_is_taken_away():
    async with operating(**EDGE) as parts:
        await parts.until(lambda: play(parts, "demo-router", 2))
        parts.change(router={"mode": "inference-pool"})
        await parts.until(lambda: play(parts, "demo-epp", 2))
        await parts.until(lambda: "InferencePool" in parts.condition("Integrated").get("message", ""))
        assert there(parts) == ENVOY + POOL
