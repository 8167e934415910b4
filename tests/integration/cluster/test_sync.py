"""GitOps: what is in git is applied again and again, and nothing ever differs."""

import yaml
from cluster_started import ROOT
from helm import render

MANAGER = "argocd-controller"
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def applied(cluster, body):
    """Apply as Argo CD does with ServerSideApply=true."""
    return cluster.apply(body, MANAGER)


def test_examples_applied_twice_have_no_diff(space):
    """Applying the examples again changes nothing, neither at once nor after the operator has worked on them."""
    assert len(EXAMPLES) > 5
    for body in (body for path in EXAMPLES for body in yaml.safe_load_all(path.read_text())):
        body["metadata"]["namespace"] = space.name
        name = body["metadata"]["name"]
        first = applied(space.cluster, body)
        again = applied(space.cluster, body)
        assert again["spec"] == first["spec"], "the API server defaults what the CRD does not"
        assert again["metadata"]["generation"] == 1
        space.until("the operator has judged it", lambda name=name: space.judged(name, "Planned"))
        after = space.until("an apply that writes nothing", lambda body=body: unwritten(space, body))
        assert (after["spec"], after["metadata"]["generation"]) == (first["spec"], 1)
        mine = [entry for entry in after["metadata"]["managedFields"] if entry["manager"] == MANAGER]
        assert len(mine) == 1
        others = {entry["manager"]: entry for entry in after["metadata"]["managedFields"] if entry not in mine}
        assert not [manager for manager, entry in others.items() if "f:spec" in entry["fieldsV1"]], "spec is not ours"


def unwritten(space, body):
    """The object, if applying it wrote nothing; the operator may have written the status just now, so try again."""
    before = space.get(body["kind"], body["metadata"]["name"])
    after = applied(space.cluster, body)
    return after if before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"] else None


def test_replicas_owned_by_another_survive_a_sync(space):
    """Where git does not name `replicas`, a sync leaves the number of an HPA or of kubectl scale alone."""
    body = space.body("demo")
    applied(space.cluster, body)
    space.scale("demo", 3)
    after = applied(space.cluster, body)
    assert after["spec"]["replicas"] == 3
    space.until("three groups", lambda: len(space.groups("demo")) == 3)


def test_the_chart_applied_twice_has_no_diff(space):
    """Applying what the chart renders for one namespace again changes nothing."""
    values = {"namespaces": [space.name], "clusterRead.enabled": False, "crds.enabled": False, "release.enabled": False}
    objects = [body for body in render(values) if body["kind"] != "ClusterRole"]
    assert {"Deployment", "Role", "RoleBinding", "ServiceAccount", "PodDisruptionBudget"} == {
        body["kind"] for body in objects
    }
    for body in objects:
        body["metadata"]["namespace"] = space.name
        body.get("spec", {}).pop("replicas", None)  # nobody can pull the image here
        first = applied(space.cluster, body)
        again = applied(space.cluster, body)
        assert (again["metadata"].get("generation"), again.get("spec")) == (
            first["metadata"].get("generation"), first.get("spec")
        ), body["kind"]  # fmt: skip
