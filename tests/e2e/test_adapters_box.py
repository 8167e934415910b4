"""Adapters of an LLMDeployment on a real engine: from the list in the spec to answers through the router."""

import pytest
import yaml
from adapter_box import manifest, story
from fetch_hub import FakeHub
from lora import adapter_files
from running import only_all, start_box, stop_box, wait_ready

from manta_operator.controller.client import connect

pytestmark = only_all

ENV = [{"name": "NO_PROXY", "value": "*"}]
SMALL = {"cpu": "500m", "memory": "2Gi"}


@pytest.fixture
def box(tmp_path):
    path = tmp_path / "tiny.yaml"
    engine = {"dtype": "bfloat16", "enforceEager": True, "kvCacheMemory": "64Mi", "env": ENV, "resources": SMALL}
    path.write_text(yaml.safe_dump(manifest(1, **engine)))
    running = start_box(tmp_path / "box", str(path))
    yield running
    assert stop_box(running) == 0, running.words.read_text()


async def test_adapters_come_fail_and_go_without_a_rollout(box, tmp_path):
    with FakeHub(adapter_files(1)) as hub:
        async with connect(tmp_path, box.state.kubeconfig) as client:
            await wait_ready(box, client, "tiny", 1)
            await story(hub, client, 1)
