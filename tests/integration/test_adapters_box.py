"""Adapters of an LLMDeployment on the box: operator, engines (simulated), fetching containers and router together."""

import pytest
import yaml
from adapter_box import manifest, story
from fetch_hub import FakeHub
from lora import adapter_files
from running import start_box, stop_box, wait_ready

from manta_operator.controller.client import connect

ENV = [{"name": "MANTA_ENGINE", "value": "simulate"}, {"name": "NO_PROXY", "value": "*"}]
SMALL = {"cpu": "50m", "memory": "64Mi"}


@pytest.fixture
def box(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(manifest(2, env=ENV, resources=SMALL, args=["--simulate-startup-seconds=0"])))
    running = start_box(tmp_path / "box", str(path))
    yield running
    assert stop_box(running) == 0, running.words.read_text()


async def test_adapters_come_fail_and_go_without_a_rollout(box, tmp_path):
    with FakeHub(adapter_files(1)) as hub:
        async with connect(tmp_path, box.state.kubeconfig) as client:
            await wait_ready(box, client, "tiny", 2)
            await story(hub, client, 2)
