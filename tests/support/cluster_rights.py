"""The rights of the operator in the suite: exactly the rules of the chart, for one ServiceAccount in some namespaces.

The rules come from what is installed: charts/manta, rendered for one namespace, and bound in every namespace of a test.
"""

import copy
import functools
import time

from helm import render

from manta_operator.box.cluster import ApiError

RBAC = "rbac.authorization.k8s.io/v1"
TOKEN_SECONDS = 7200
OTHER = "manta-other"


@functools.cache
def rendered(namespace=OTHER):
    """Roles, ClusterRoles and their bindings of the operator's account, as the chart installs them; None: for all."""
    installed = render({"namespaces": [namespace]} if namespace else {})
    bindings = [each for each in installed if any(map(_is_operator, each.get("subjects") or ()))]
    bound = {(each["roleRef"]["kind"], each["roleRef"]["name"]) for each in bindings}
    return [*bindings, *(each for each in installed if (each["kind"], each["metadata"]["name"]) in bound)]


def _is_operator(subject):
    return subject["name"] == "manta-operator"


def grant(server, home, spaces, account):
    """Make the account in its namespace, with the chart's rights in those it watches; returns a token for it."""
    cluster = server.cluster
    meta = {"name": account, "namespace": home}
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}, "tests")
    subject = {"kind": "ServiceAccount", "name": account, "namespace": home}
    for obj in rights(rendered(), home, spaces, subject):
        cluster.apply(obj, "tests")
    return token(cluster, home, account)


def grant_everywhere(server, home, account):
    """Give the account, too, the rights that the chart gives where all namespaces are served."""
    subject = {"kind": "ServiceAccount", "name": account, "namespace": home}
    for obj in rights(rendered(None), home, (), subject):
        server.cluster.apply(obj, "tests")


def rights(rules, home, spaces, subject):
    """The chart's rules for these namespaces, under names of their own."""
    found = []
    for obj in rules:
        made = copy.deepcopy(obj)
        made["metadata"] = {"name": f"{home}-{obj['metadata']['name']}"}
        if "Binding" in obj["kind"]:
            made["subjects"] = [subject]
            made["roleRef"]["name"] = f"{home}-{obj['roleRef']['name']}"
        if obj["kind"].startswith("Cluster"):
            found.append(made)
            continue
        where = spaces if obj["metadata"]["namespace"] == OTHER else (home,)
        found += [made | {"metadata": made["metadata"] | {"namespace": space}} for space in where]
    return sorted(found, key=lambda obj: "Binding" in obj["kind"])


def take_back(cluster, home):
    """Remove what is not in a namespace, and goes with none."""
    for kind in ("ClusterRoleBinding", "ClusterRole"):
        for obj in cluster.list(kind):
            if obj["metadata"]["name"].startswith(f"{home}-"):
                cluster.delete(kind, None, obj["metadata"]["name"])


def token(cluster, namespace, account):
    """A token of the account, by TokenRequest."""
    path = cluster.path("ServiceAccount", namespace, account, "token")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
    for _ in range(20):
        try:
            answer = cluster.call("POST", path, request | {"spec": {"expirationSeconds": TOKEN_SECONDS}})
            return answer["status"]["token"]
        except ApiError as error:
            if error.code != 404:
                raise
            time.sleep(0.2)
    raise TimeoutError(path)
