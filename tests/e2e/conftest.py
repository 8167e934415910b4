"""One box with both examples for all tests here: real vLLM, Ray and Envoy, applied as `make demo` applies them."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from running import MODELS, READY_SECONDS, RunningBox, start_box, stop_box

from manta_operator.controller.client import KubeClient, connect


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here and give it the time engines need; skip it all where they are not installed."""
    installed = (Path(sys.executable).parent / "ray").exists() and (MODELS / "tiny" / "config.json").is_file()
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.e2e)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(READY_SECONDS + 180))
            if not installed:
                item.add_marker(pytest.mark.skip(reason="no engine or no tiny model here: run `make model` first"))
    # It breaks what the others use; after it nobody has to wait until that is back.
    items.sort(key=lambda item: Path(item.path).name == "test_faults.py")


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    """Both examples in one box, starting; tests wait for what they need."""
    running = start_box(tmp_path_factory.mktemp("box"), "tiny.yaml", "tiny-sharded.yaml")
    yield running
    assert stop_box(running) == 0, running.words.read_text()


@pytest_asyncio.fixture
async def client(box: RunningBox, tmp_path: Path) -> AsyncIterator[KubeClient]:
    """The box's API server."""
    async with connect(tmp_path, box.state.kubeconfig) as connected:
        yield connected
