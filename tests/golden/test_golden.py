"""What `manta render` makes of every example, written out: the files read as documentation and change on purpose alone.

`make golden-update` rewrites them; the diff is then reviewed like code.
"""

import os
from pathlib import Path

import kubernetes_validate
import pytest
from make import TINY

from manta_operator.api.load import load
from manta_operator.api.models import parse
from manta_operator.builders.desired import Desired, desire
from manta_operator.cli.documents import documents
from manta_operator.planning.observe import Observed

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_golden(example: Path):
    rendered = documents(objects(example))
    assert "&id" not in rendered
    golden = Path(__file__).parent / example.name
    if os.environ.get("GOLDEN_UPDATE"):
        golden.write_text(rendered)
    assert golden.is_file(), f"{golden} is missing: run make golden-update"
    assert rendered == golden.read_text(), "the rendered objects changed: review, then run make golden-update"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_real_schemas_accept_every_object(example: Path):
    for obj in objects(example):
        kubernetes_validate.validate(obj, "1.37", strict=True)


def test_there_are_examples():
    assert len(EXAMPLES) >= 6


def objects(example: Path) -> list[dict]:
    """Render as on a machine that sees the tiny model and no other checkpoint."""
    rendered = []
    for body in load(example.read_text(), str(example)):
        deployment = parse(body)
        facts = TINY if deployment.spec.accelerator.type == "cpu" else None
        desired = desire(deployment, facts, Observed())
        assert isinstance(desired, Desired), desired
        rendered.extend(desired.objects)
    return rendered
