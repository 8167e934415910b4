"""RBAC as a real API server has it. See tests/support/conformance.py for running this against any other server.

The other server must enforce RBAC, and the token must be an administrator's.
"""

import pytest
from conformance import APPLY, connected, deployment

pytestmark = pytest.mark.integration
RBAC = "rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1"


class World:
    """A namespace with a ServiceAccount `a`, and requests as that account."""

    def __init__(self, api, token):
        self.api, self.token = api, token
        self.core = f"/api/v1/namespaces/{api.space}"
        self.rbac = f"/apis/{RBAC}/namespaces/{api.space}"
        self.user = f"system:serviceaccount:{api.space}:a"

    async def __call__(self, method, path, body=None, kind="application/json"):
        return await self.api(method, path, body, kind, Authorization=f"Bearer {self.token}")

    async def role(self, *rules, name="r"):
        """Let the account do what the rules say, and nothing else by this role."""
        role = {"apiVersion": RBAC, "kind": "Role", "metadata": {"name": name}, "rules": list(rules)}
        await self.api.ok("PATCH", f"{self.rbac}/roles/{name}?fieldManager=t&force=true", role, APPLY)
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        subject = {"kind": "ServiceAccount", "name": "a", "namespace": self.api.space}
        meta = {"name": name}
        bound = {"apiVersion": RBAC, "kind": "RoleBinding", "metadata": meta, "subjects": [subject]}
        bound |= {"roleRef": reference}
        await self.api.ok("PATCH", f"{self.rbac}/rolebindings/{name}?fieldManager=t&force=true", bound, APPLY)
        for rule in rules:  # an authorizer may learn of it a moment later
            if "resources" in rule:
                await self.api.until(lambda rule=rule: self._may(rule))

    async def _may(self, rule):
        asked = {"namespace": self.api.space, "verb": rule["verbs"][0], "group": rule["apiGroups"][0]}
        resource, _, below = rule["resources"][0].partition("/")
        asked |= {"resource": resource, "subresource": below, "name": rule.get("resourceNames", [""])[0]}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        answer = await self(
            "POST", f"{REVIEWS}/selfsubjectaccessreviews", review | {"spec": {"resourceAttributes": asked}}
        )
        return answer.body["status"]["allowed"]

    async def codes(self, *requests):
        return [(await self(*request)).code for request in requests]


def rule(verbs, resources, group="", **more):
    return {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split(), **more}


@pytest.fixture
async def world():
    async with connected() as api:
        core = f"/api/v1/namespaces/{api.space}"
        await api.ok("POST", f"{core}/serviceaccounts", {"metadata": {"name": "a"}})
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = await api.ok("POST", f"{core}/serviceaccounts/a/token", request)
        world = World(api, answer["status"]["token"])
        if (await world("GET", f"{core}/configmaps")).code == 200:
            pytest.skip("this server does not enforce RBAC")
        yield world


async def test_without_a_rule_nothing_but_discovery(world):
    answer = await world("GET", f"{world.core}/configmaps")
    assert (answer.code, answer.body["reason"]) == (403, "Forbidden")
    where = f'in API group "" in the namespace "{world.api.space}"'
    assert answer.body["message"] == (
        f'configmaps is forbidden: User "{world.user}" cannot list resource "configmaps" {where}'
    )
    answer = await world("GET", "/apis/apps/v1/deployments")
    wanted = (
        f'deployments.apps is forbidden: User "{world.user}" cannot list resource "deployments" in API group "apps"'
    )
    assert answer.body["message"] == f"{wanted} at the cluster scope"
    answer = await world("GET", f"{world.core}/pods/p/log")
    assert answer.body["message"].startswith(
        f'pods "p" is forbidden: User "{world.user}" cannot get resource "pods/log"'
    )
    assert (await world("GET", "/metrics")).code == 403
    known = ["/api", "/apis", "/api/v1", "/apis/apps/v1", "/openapi/v3", "/version", "/readyz"]
    assert await world.codes(*(("GET", path) for path in known)) == [200] * len(known)


async def test_each_verb_is_asked_for_by_itself(world):
    maps, body = f"{world.core}/configmaps", {"metadata": {"name": "c"}}
    await world.role(rule("get list watch create", "configmaps"))
    asked = (
        ("GET", maps),
        ("GET", f"{maps}?watch=true&timeoutSeconds=1"),
        ("POST", maps, body),
        ("GET", f"{maps}/c"),
        ("PUT", f"{maps}/c", body),
        ("PATCH", f"{maps}/c", {}, "application/merge-patch+json"),
        ("DELETE", f"{maps}/c"),
        ("DELETE", maps),
    )
    assert await world.codes(*asked) == [200, 200, 201, 200, 403, 403, 403, 403]
    await world.role(rule("deletecollection", "configmaps"))
    assert await world.codes(("DELETE", maps), ("GET", maps)) == [200, 403]


async def test_rights_of_a_namespace_end_with_it(world):
    await world.role(rule("list get", "configmaps pods namespaces"))
    core = f"/api/v1/namespaces/{world.api.space}"
    asked = (("GET", f"{core}/pods"), ("GET", "/api/v1/pods"), ("GET", "/api/v1/namespaces/default/pods"))
    assert await world.codes(*asked, ("GET", core), ("GET", "/api/v1/namespaces")) == [200, 403, 403, 200, 403]


async def test_applying_what_is_not_there_yet_needs_create(world):
    maps = f"{world.core}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    apply = ("PATCH", f"{maps}/c?fieldManager=a", body, APPLY)
    await world.role(rule("patch", "configmaps"))
    answer = await world(*apply)
    assert answer.code == 403
    assert 'cannot create resource "configmaps"' in answer.body["message"]
    await world.api.ok("POST", maps, {"metadata": {"name": "c"}})
    assert (await world(*apply)).code == 200
    await world.role(rule("create patch", "configmaps"))
    assert (await world("PATCH", f"{maps}/d?fieldManager=a", body | {"metadata": {"name": "d"}}, APPLY)).code == 201


async def test_subresources_are_granted_by_their_own_names(world):
    await world.api.ok("POST", world.api.deployments, deployment())
    path = f"{world.api.deployments}/d"
    await world.role(rule("get patch", "deployments/scale", "apps"))
    merge = "application/merge-patch+json"
    asked = (
        ("GET", f"{path}/scale"),
        ("PATCH", f"{path}/scale", {"spec": {"replicas": 0}}, merge),
        ("GET", path),
        ("GET", f"{path}/status"),
    )
    assert await world.codes(*asked) == [200, 200, 403, 403]
    await world.role(rule("get", "*/status deployments", "apps"))
    assert await world.codes(*asked) == [403, 403, 200, 200]
    await world.role(rule("get", "*", "apps"))
    assert await world.codes(*asked) == [200, 403, 200, 200]


async def test_names_narrow_a_rule(world):
    maps = f"{world.core}/configmaps"
    for name in ("mine", "other"):
        await world.api.ok("POST", maps, {"metadata": {"name": name}})
    await world.role(rule("get list watch patch create", "configmaps", resourceNames=["mine"]))
    asked = (
        ("GET", f"{maps}/mine"),
        ("GET", f"{maps}/other"),
        ("GET", maps),
        ("GET", f"{maps}?fieldSelector=metadata.name%3Dmine"),
        ("GET", f"{maps}?fieldSelector=metadata.name%3Dother"),
        ("POST", maps, {"metadata": {"name": "mine"}}),
    )
    assert await world.codes(*asked) == [200, 403, 403, 200, 403, 403]


async def test_nobody_gives_away_what_he_does_not_have(world):
    group = "rbac.authorization.k8s.io"
    await world.role(rule("create update patch get", "roles rolebindings", group), rule("get", "pods"))
    roles, bindings = f"{world.rbac}/roles", f"{world.rbac}/rolebindings"

    def made(name, *rules):
        return {"apiVersion": RBAC, "kind": "Role", "metadata": {"name": name}, "rules": list(rules)}

    refused = await world("POST", roles, made("more", rule("get list", "pods")))
    assert refused.code == 403
    assert "is attempting to grant RBAC permissions not currently held" in refused.body["message"]
    assert refused.body["message"].endswith('{APIGroups:[""], Resources:["pods"], Verbs:["list"]}')
    assert (await world("POST", roles, made("same", rule("get", "pods")))).code == 201
    narrow = made("narrow", rule("get", "pods", resourceNames=["p"]))
    assert (await world("POST", roles, narrow)).code == 201
    applied = made("same", rule("delete", "pods"))
    assert (await world("PATCH", f"{roles}/same?fieldManager=a&force=true", applied, APPLY)).code == 403

    await world.api.ok("POST", roles, made("strong", rule("delete", "pods")))
    subject = {"kind": "ServiceAccount", "name": "a", "namespace": world.api.space}

    def bound(name, role):
        reference = {"apiGroup": group, "kind": "Role", "name": role}
        meta = {"name": name}
        return {
            "apiVersion": RBAC,
            "kind": "RoleBinding",
            "metadata": meta,
            "subjects": [subject],
            "roleRef": reference,
        }

    assert (await world("POST", bindings, bound("b1", "strong"))).code == 403
    assert (await world("POST", bindings, bound("b2", "same"))).code == 201
    await world.role(rule("bind", "roles", group, resourceNames=["strong"]), name="binder")
    assert (await world("POST", bindings, bound("b1", "strong"))).code == 201
    await world.role(rule("escalate", "roles", group), name="climber")
    assert (await world("POST", roles, made("more", rule("get list", "pods")))).code == 201


async def test_roles_of_others_are_not_bound(world):
    group = "rbac.authorization.k8s.io"
    await world.role(rule("create", "rolebindings", group))
    subject = {"kind": "ServiceAccount", "name": "a", "namespace": world.api.space}
    body = {"apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": "b"}, "subjects": [subject]}
    codes = []
    for kind, name in (("Role", "nowhere"), ("ClusterRole", "cluster-admin")):
        bound = body | {"roleRef": {"apiGroup": group, "kind": kind, "name": name}}
        codes.append((await world("POST", f"{world.rbac}/rolebindings", bound)).code)
    assert codes == [404, 403]


async def test_what_one_may_do_can_be_asked(world):
    await world.role(rule("get", "pods"))

    async def may(**asked):
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        answer = await world("POST", f"{REVIEWS}/selfsubjectaccessreviews", review | {"spec": asked})
        assert answer.code == 201
        return answer.body["status"]["allowed"]

    pods = {"namespace": world.api.space, "resource": "pods", "version": "v1"}
    assert await may(resourceAttributes=pods | {"verb": "get"})
    assert not await may(resourceAttributes=pods | {"verb": "list"})
    assert not await may(resourceAttributes=pods | {"verb": "get", "subresource": "log"})
    assert await may(nonResourceAttributes={"path": "/api", "verb": "get"})
    assert not await may(nonResourceAttributes={"path": "/metrics", "verb": "get"})
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    path = f"{REVIEWS}/selfsubjectrulesreviews"
    told = (await world("POST", path, review | {"spec": {"namespace": world.api.space}})).body["status"]
    assert {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]} in told["resourceRules"]


async def test_a_token_ends_with_its_account(world):
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 60}}
    accounts = f"{world.core}/serviceaccounts"
    assert (await world.api("POST", f"{accounts}/a/token", request)).code == 422
    assert (await world.api("POST", f"{accounts}/nobody/token", request)).code == 404
    assert (await world("POST", f"{accounts}/a/token", request)).code == 403
    await world.api.ok("DELETE", f"{accounts}/a")

    async def refused():
        return (await world("GET", "/apis")).code == 401

    await world.api.until(refused)


async def test_an_administrator_speaks_for_others(world):
    await world.role(rule("list", "pods"))
    pods, secrets = f"{world.core}/pods", f"{world.core}/secrets"
    codes = [(await world.api("GET", path, **{"Impersonate-User": world.user})).code for path in (pods, secrets)]
    assert codes == [200, 403]
    answer = await world.api("GET", pods, Authorization=f"Bearer {world.token}", **{"Impersonate-User": "else"})
    assert answer.code == 403
