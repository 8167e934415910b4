"""The admission webhook for tests: a server over HTTPS, who asks it as an API server would, and its configuration."""

import asyncio
import base64
import io
import json
import ssl
import time
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from manta_operator.controller import webhook_certificates
from manta_operator.controller.webhook_server import PATH, serving

SERVICE = "manta-webhook.manta-system.svc"
SPEC = {
    "model": {"uri": "hf://org/model"},
    "accelerator": {"type": "nvidia-l4", "perPod": 1},
    "parallelism": {"tensor": 1},
}


def llmdeployment(status=None, metadata=None, **spec):
    body = {"apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "spec": SPEC | spec}
    return (
        body
        | {"metadata": {"name": "demo", "namespace": "default", **(metadata or {})}}
        | ({"status": status} if status else {})
    )


def review(new, old=None):
    request = {
        "uid": "705ab4f5", "operation": "UPDATE" if old else "CREATE", "namespace": "default", "name": "demo",
        "object": new, "oldObject": old, "dryRun": False,
    }  # fmt: skip
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def trusting(authority):
    """A client's context that trusts one authority, and knows the server by the name of its Service."""
    return ssl.create_default_context(cadata=authority)


@asynccontextmanager
async def webhook(known, stop=None):
    """Yields a function that posts a body (text, or anything as JSON), and returns the status and JSON or text.

    Its `connect` opens a connection to say anything else on it.
    """
    certificate = webhook_certificates.make((SERVICE,), time.time())
    server = serving(known, webhook_certificates.context_of(certificate), "127.0.0.1", 0, stop)
    async with server as port, aiohttp.ClientSession() as session:

        async def post(body, content_type="application/json", path=PATH, method="POST"):
            text = body if isinstance(body, str | bytes) else json.dumps(body)
            data = io.BytesIO(text.encode() if isinstance(text, str) else text)
            async with session.request(
                method, f"https://127.0.0.1:{port}{path}", data=data, headers={"Content-Type": content_type},
                ssl=trusting(certificate.authority), server_hostname=SERVICE,
            ) as answer:  # fmt: skip
                text = await answer.text()
                return answer.status, json.loads(text) if answer.content_type == "application/json" else text

        def connect():
            return asyncio.open_connection(
                "127.0.0.1", port, ssl=trusting(certificate.authority), server_hostname=SERVICE
            )

        post.connect = connect
        yield post


class Configurations:
    """As much of an API server as one ValidatingWebhookConfiguration needs: GET, JSON patches that test a version."""

    def __init__(self):
        self.version, self.bundle, self.there, self.race = 1, None, True, None
        self.patches = []

    @asynccontextmanager
    async def serving(self):
        app = web.Application()
        app.add_routes([web.get("/{path:.*}", self._get), web.patch("/{path:.*}", self._patch)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    def authorities(self):
        text = base64.b64decode(self.bundle or "").decode()
        return [f"-----BEGIN{each}" for each in text.split("-----BEGIN")[1:]]

    async def _get(self, request):
        if not self.there:
            return web.json_response({"message": "not found"}, status=404)
        client = {"caBundle": self.bundle} if self.bundle else {}
        return web.json_response(
            {"metadata": {"resourceVersion": str(self.version)}, "webhooks": [{"name": "a", "clientConfig": client}]}
        )

    async def _patch(self, request):
        if self.race:
            self.race, race = None, self.race
            race(self)
        test, change = json.loads(await request.text())
        assert test["op"] == "test"
        if test["value"] != str(self.version):
            return web.json_response({"message": "testing value failed"}, status=422)
        self.version, self.bundle = self.version + 1, change["value"]
        self.patches.append(change)
        return web.json_response({})
