"""What the operator says before it runs: one line where a person is needed, patience where not."""

import asyncio
import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner
from kubernetes.aio.config import kube_config

from manta_operator.api.crd import custom_resource_definition
from manta_operator.cli.main import main
from manta_operator.controller import run_startup
from manta_operator.controller.probes import Progress
from manta_operator.controller.run_startup import CannotStart, link, reach

pytestmark = pytest.mark.integration

CONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{token: t}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""
WITHOUT_CERTIFICATE = (
    CONFIG.format(port=1).replace("http:", "https:").replace("token: t", "client-certificate: /none, client-key: /none")
)


def use(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(config))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(config))  # it read the variable when imported


class Server:
    """Answers the statuses one after the other, the last one for ever."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.asked: list[str] = []
        self.port = 0
        self.document: Any = {}

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.json_response(self.document, status=status)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.port = runner.addresses[0][1]
    config = tmp_path / "config"
    config.write_text(CONFIG.format(port=found.port))
    use(monkeypatch, config)
    monkeypatch.setattr(run_startup, "RETRY_SECONDS", 0.01)
    yield found
    await runner.cleanup()


async def test_reach_asks_for_our_kind(server: Server) -> None:
    async with link() as to:
        await asyncio.wait_for(reach(to), 5)
    assert server.asked == ["/apis/manta.dev/v1alpha1", "/openapi/v3/apis/manta.dev/v1alpha1"]


async def test_a_crd_of_an_older_version_is_waited_for(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    schema = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    old = copy.deepcopy(schema)
    del old["properties"]["status"]["properties"]["fit"]["properties"]["predicted"]
    server.document = {"components": {"schemas": {"dev.manta.v1alpha1.LLMDeployment": old}}}
    async with link() as to:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reach(to), 0.5)
        assert "has no status.fit.predicted: apply the one of this version" in caplog.text
        server.document = {"components": {"schemas": {"dev.manta.v1alpha1.LLMDeployment": schema}}}
        await asyncio.wait_for(reach(to), 60)


@pytest.mark.parametrize("document", [[], {"components": None}, {"components": {"schemas": {"a.LLMDeployment": {}}}}])
async def test_without_a_schema_the_operator_starts(server: Server, document: Any) -> None:
    server.document = document
    async with link() as to:
        await asyncio.wait_for(reach(to), 60)


@pytest.mark.parametrize("status", [404, 429, 500, 503])
async def test_what_passes_is_waited_for_and_said_once(
    server: Server, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    server.statuses = [status, status, status, 200]
    async with link() as to:
        await asyncio.wait_for(reach(to), 5)
    assert server.asked.count("/apis/manta.dev/v1alpha1") == 4
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert ("install the CRD" if status == 404 else f"HTTP {status}") in warnings[0]


async def test_refused_credentials_are_waited_for_a_minute(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_startup, "REFUSED_SECONDS", 0.03)
    server.statuses = [401]
    async with link() as to:
        with pytest.raises(CannotStart, match=r"refuses the credentials from KUBECONFIG=.*renew the token"):
            await asyncio.wait_for(reach(to), 5)
    assert len(server.asked) > 2


async def test_one_refusal_at_the_start_is_no_end(server: Server) -> None:
    server.statuses = [401, 401, 200]
    async with link() as to:
        await asyncio.wait_for(reach(to), 5)


async def test_readyz_says_what_the_start_waits_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Progress()
    monkeypatch.setattr(run_startup, "progress", known)
    server.statuses = [404]
    async with link() as to:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reach(to), 0.1)
        [said] = known.unready()
        assert said == f"waiting for the API server {to.server}: llmdeployments.manta.dev v1alpha1 is not served: " + (
            "install the CRD"
        )


async def test_a_server_that_is_away_is_waited_for(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    async with link() as to:
        away = run_startup.Link(to.session, "http://127.0.0.1:1")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reach(away), 0.2)
    assert "Cannot connect to host" in caplog.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "Invalid kube-config file"),
        ("a: [b", "while parsing a flow sequence"),
        ("[1]", "list indices"),
        ("", "no usable credentials"),
        (WITHOUT_CERTIFICATE, "/none"),
    ],
    ids=["missing", "no YAML", "no mapping", "empty", "no certificate"],
)
def test_broken_credentials_are_one_line_and_exit_code_2(
    content: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    if content is not None:
        config.write_text(content)
    use(monkeypatch, config)
    result = CliRunner().invoke(main, ["operator"])
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert f"KUBECONFIG={config}: " in lines[0]
    assert said in lines[0]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--leader-elect"], "give --lease-namespace or set POD_NAMESPACE"),
        (["--namespace=team-*", "--namespace=ok"], "--namespace=team-*: not the name of a namespace"),
    ],
)
def test_options_that_cannot_be_meant(arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POD_NAMESPACE", raising=False)
    result = CliRunner().invoke(main, ["operator", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr
