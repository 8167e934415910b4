"""What any Kubernetes API server does with validating webhooks: what they see, and what becomes of their answers."""

import asyncio
import base64
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme
from aiohttp import web
from conformance import MERGE, connected

pytestmark = pytest.mark.integration
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
NAME = "judge.webhooks.example.com"
SECONDS = 60


class Judge:
    """A webhook server; `answer` is what it says, `seen` are the requests of the writes that it was asked about."""

    def __init__(self, port, authority):
        self.port, self.authority, self.seen, self.answer = port, authority, [], {"allowed": True}

    async def judge(self, request):
        review = await request.json()
        self.seen.append(review["request"])
        response = {"uid": review["request"]["uid"], **self.answer}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})


@asynccontextmanager
async def judging():
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    made = Judge(0, base64.b64encode(authority.cert_pem.bytes()).decode())
    app = web.Application()
    app.add_routes([web.post("/judge", made.judge)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()


@pytest.fixture
async def api():
    async with connected() as found:
        yield found


@asynccontextmanager
async def configured(api, judge, **more):
    """A configuration for the ConfigMaps of the test's namespace, once the server has heard of it."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
    chosen = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [api.space]}
    hook = {
        "name": NAME,
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": f"https://127.0.0.1:{judge.port}/judge", "caBundle": judge.authority},
        "namespaceSelector": {"matchExpressions": [chosen]},
        "rules": [rule],
        "sideEffects": "None",
        "timeoutSeconds": 10,
    }
    body = {"metadata": {"name": f"conformance-{api.space}"}, "webhooks": [hook | more]}
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    await api.ok("POST", CONFIGURATIONS, kind | body)
    try:
        yield
    finally:
        await api.ok("DELETE", f"{CONFIGURATIONS}/{body['metadata']['name']}")


def config_map(name="a", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def heard(api, judge):
    """Wait until the server asks."""
    async with asyncio.timeout(SECONDS):
        while not judge.seen:
            await api.ok("POST", f"{api.maps}?dryRun=All", config_map())
    judge.seen.clear()


async def test_a_webhook_sees_what_would_be_stored(api):
    async with judging() as judge, configured(api, judge):
        await heard(api, judge)
        made = await api.ok("POST", api.maps, config_map(x="1"))
        await api.ok("PATCH", f"{api.maps}/a", {"data": {"y": "2"}}, MERGE)
        created, changed = judge.seen
    assert (created["operation"], created["name"], created["namespace"]) == ("CREATE", "a", api.space)
    assert (created["object"]["data"], created["oldObject"], created["dryRun"]) == ({"x": "1"}, None, False)
    assert created["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert created["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert created["userInfo"]["username"]
    assert changed["operation"] == "UPDATE"
    assert changed["object"]["data"] == {"x": "1", "y": "2"}
    assert changed["oldObject"]["data"] == {"x": "1"}
    assert changed["oldObject"]["metadata"]["uid"] == made["metadata"]["uid"]


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ({}, 403, "denied the request without explanation"),
        ({"message": "too large"}, 403, "denied the request: too large"),
        ({"message": "too large", "code": 422, "reason": "Invalid"}, 422, "denied the request: too large"),
    ],
)
async def test_a_refusal_is_told_and_nothing_is_stored(api, status, code, said):
    async with judging() as judge, configured(api, judge):
        await heard(api, judge)
        judge.answer = {"allowed": False} | ({"status": status} if status else {})
        refused = await api("POST", api.maps, config_map())
        assert refused.code == code
        assert refused.body["message"] == f'admission webhook "{NAME}" {said}'
        assert (await api("GET", f"{api.maps}/a")).code == 404
        applied = await api("PATCH", f"{api.maps}/a?fieldManager=x", config_map(), "application/apply-patch+yaml")
        assert applied.code == code


async def test_warnings_are_passed_on(api):
    async with judging() as judge, configured(api, judge):
        await heard(api, judge)
        judge.answer = {"allowed": True, "warnings": ["it is rather large"]}
        made = await api("POST", api.maps, config_map())
    assert made.code == 201
    assert made.headers["Warning"] == '299 - "it is rather large"'


async def test_a_dry_run_is_asked_about_and_stores_nothing(api):
    async with judging() as judge, configured(api, judge):
        await heard(api, judge)
        await api.ok("POST", f"{api.maps}?dryRun=All", config_map())
        assert [each["dryRun"] for each in judge.seen] == [True]
        assert (await api("GET", f"{api.maps}/a")).code == 404


async def test_others_are_not_asked_about(api):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}
    async with judging() as judge, configured(api, judge):
        await heard(api, judge)
        await api.ok("POST", api.maps.replace("configmaps", "secrets"), secret)
        await api.ok("POST", api.maps, config_map())
        judge.seen.clear()
        await api.ok("DELETE", f"{api.maps}/a")
        assert judge.seen == []


@pytest.mark.parametrize(("policy", "code"), [("Ignore", 201), ("Fail", 500)])
async def test_a_webhook_that_does_not_answer(api, policy, code):
    async with judging() as judge, configured(api, judge, failurePolicy=policy):
        await heard(api, judge)
        judge.answer = {"allowed": True, "uid": "of another question"}
        answer = await api("POST", api.maps, config_map())
    assert answer.code == code
    if code == 500:
        assert answer.body["reason"] == "InternalError"
        assert f'failed calling webhook "{NAME}"' in answer.body["message"]
