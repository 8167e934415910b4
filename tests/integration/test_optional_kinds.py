"""A CRD of somebody else that is installed long after an LLMDeployment has asked for its kind, and goes again."""

import pytest
from operator_parts import operating

from manta_operator.controller import discovery
from manta_operator.controller import watcher as watchers

pytestmark = pytest.mark.integration

MONITOR = ("PodMonitor", "default", "demo")
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "podmonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "names": {
            "kind": "PodMonitor",
            "plural": "podmonitors",
            "singular": "podmonitor",
            "listKind": "PodMonitorList",
        },
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def test_it_is_looked_for_every_minute_and_what_is_known_of_it_is_younger():
    assert discovery.FRESH_SECONDS < watchers.ABSENT_SECONDS <= 60


async def test_a_kind_that_comes_is_written_without_a_change_of_the_spec_and_its_drift_undone(monkeypatch):
    monkeypatch.setattr(watchers, "ABSENT_SECONDS", 0.1)
    monkeypatch.setattr(watchers, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(discovery, "FRESH_SECONDS", 0.05)
    async with operating(monitoring={"podMonitor": True}) as parts:
        await parts.until(lambda: parts.condition("Integrated").get("reason") == "CRDMissing")
        parts.cluster.create(CRD)
        await parts.until(lambda: parts.condition("Integrated").get("status") == "True")
        made = parts.cluster.get(*MONITOR)

        parts.cluster.patch(*MONITOR, {"spec": {"podMetricsEndpoints": []}})
        await parts.until(lambda: parts.cluster.get(*MONITOR)["spec"] == made["spec"])
        parts.cluster.delete(*MONITOR)
        await parts.until(lambda: parts.cluster.find(*MONITOR))

        parts.cluster.delete("CustomResourceDefinition", None, CRD["metadata"]["name"])
        await parts.until(lambda: parts.condition("Integrated").get("reason") == "CRDMissing")
        assert parts.condition("Reconciled")["status"] == "True"
