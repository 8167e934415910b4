"""Every example is admitted as it stands, and the tour of features they promise is there."""

from pathlib import Path

import pytest

from manta_operator.api.load import load
from manta_operator.api.models import parse

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_is_admitted(path: Path) -> None:
    [body] = load(path.read_text("utf-8"), path.name)
    assert parse(body).name == body["metadata"]["name"]


def test_names_do_not_clash_when_all_are_applied() -> None:
    names = [body["metadata"]["name"] for path in EXAMPLES for body in load(path.read_text("utf-8"), path.name)]
    assert len(names) == len(set(names)) >= 7


def test_the_tiny_examples_share_a_model_and_differ_in_their_shape() -> None:
    tiny, sharded = (
        parse(load((EXAMPLES[0].parent / name).read_text("utf-8"), name)[0]).spec
        for name in ("tiny.yaml", "tiny-sharded.yaml")
    )
    assert tiny.model.uri == sharded.model.uri == "file:///var/lib/manta/models/tiny"
    assert (tiny.replicas, tiny.parallelism.tensor) == (2, None)
    assert (sharded.parallelism.tensor, sharded.accelerator.per_pod, sharded.engine.executor) == (2, 1, "ray")
