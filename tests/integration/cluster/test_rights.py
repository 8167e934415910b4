"""The chart's rights: enough for everything, told apart when one is missing, and no more than the chart says."""

import copy

import pytest
from cluster_http import HttpCluster
from cluster_rights import token
from cluster_space import KIND

from manta_operator.box.cluster import ApiError

LOST = [
    ("services", "patch", "Service"),
    ("statefulsets", "create", "StatefulSet"),
    ("configmaps", "patch", "ConfigMap"),
]


def role_without(role, resource, verb):
    """The role, with one verb on one resource taken out."""
    changed, rules = copy.deepcopy(role), []
    for rule in changed["rules"]:
        if resource not in rule.get("resources", ()):
            rules.append(rule)
            continue
        others = [each for each in rule["resources"] if each != resource]
        rules.append(rule | {"resources": [resource], "verbs": [each for each in rule["verbs"] if each != verb]})
        rules += [rule | {"resources": others}] if others else []
    return changed | {"rules": rules}


def operator_role(space):
    """The role by which the operator works in the namespace."""
    [role] = [each for each in space.list("Role") if "-operator" in each["metadata"]["name"] and len(each["rules"]) > 3]
    meta = {"name": role["metadata"]["name"], "namespace": space.name}
    return {"apiVersion": role["apiVersion"], "kind": "Role", "metadata": meta, "rules": role["rules"]}


@pytest.mark.parametrize(("resource", "verb", "kind"), LOST, ids=[f"{r}-{v}" for r, v, _ in LOST])
def test_a_missing_right_is_named_and_its_return_noticed(space, own, resource, verb, kind):
    """One verb is taken from the role: Reconciled=Forbidden names it, all else goes on; given back, all is well"""
    if not _enforced(space):
        pytest.skip("this server does not enforce RBAC")
    own("operator")
    space.until("the role is there", lambda: operator_role(space))
    whole = operator_role(space)
    space.cluster.update(role_without(whole, resource, verb))
    space.make("demo")
    told = space.becomes("demo", "Reconciled", "False", "Forbidden")
    assert verb in told["message"]
    assert resource in told["message"]
    made = {each["kind"] for each in space.children("demo")}
    assert {"ServiceAccount", "NetworkPolicy"} <= made
    assert kind not in made or verb == "patch"
    space.cluster.update(whole)
    space.serving("demo", seconds=120)


def _enforced(space):
    """Whether somebody without rights is refused."""
    meta = {"name": "nobody", "namespace": space.name}
    space.cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}, "tests")
    nobody = HttpCluster(space.server.credentials.of(token(space.cluster, space.name, "nobody")))
    try:
        nobody.list("ConfigMap", space.name)
    except ApiError as error:
        return error.code == 403
    return False


def test_the_operator_may_do_no_more(space):
    """With the operator's token: no reading of Secrets, no nodes written, no roles beyond its own."""
    if not _enforced(space):
        pytest.skip("this server does not enforce RBAC")
    operator = HttpCluster(space.server.credentials.of(space.operator.identity))
    node = f"{space.name}-a"
    tries = {
        "list Secrets of all": lambda: operator.list("Secret"),
        "list Secrets of its own namespace": lambda: operator.list("Secret", space.name),
        "read a Secret": lambda: operator.get("Secret", space.name, "demo-group"),
        "write a Node": lambda: operator.patch("Node", None, node, {"metadata": {"labels": {"a": "b"}}}),
        "delete a LLMDeployment": lambda: operator.delete(KIND, space.name, "x"),
        "make a pod": lambda: operator.create(_pod(space)),
        "bind cluster-admin": lambda: operator.create(_binding(space)),
        "write a CRD": lambda: operator.patch(
            "CustomResourceDefinition", None, "llmdeployments.manta.dev", {"spec": {}}
        ),
    }
    codes = {}
    for what, attempt in tries.items():
        try:
            attempt()
        except ApiError as error:
            codes[what] = error.code
    assert codes == dict.fromkeys(tries, 403)


def _pod(space):
    pod = {"containers": [{"name": "a", "image": "a"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": space.name}, "spec": pod}


def _binding(space):
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": "x", "namespace": space.name}
    meta = {"name": "b", "namespace": space.name}
    bound = {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": meta, "subjects": [subject]}
    return bound | {"roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"}}
