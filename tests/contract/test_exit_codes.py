"""The launcher's exit codes mean the same to the operator and in the documentation."""

from pathlib import Path

import pytest

from manta_operator.api.status import EngineEnd
from manta_operator.planning import ends
from manta_runtime.engine import failure

CODES = {name: value for name, value in vars(failure).items() if name.isupper()}
FAILURES = (Path(__file__).parents[2] / "docs" / "failures.md").read_text()


def test_the_operator_knows_them_all():
    assert CODES["GROUP_OVER"] == ends.GROUP_OVER
    assert set(CODES.values()) == set(ends.CODES)


@pytest.mark.parametrize("name", sorted(CODES))
def test_the_documentation_tells_each(name):
    assert f"\n| {CODES[name]} |" in FAILURES
    told = EngineEnd.model_fields["exit_code"].description or ""
    assert CODES[name] == failure.GROUP_OVER or str(CODES[name]) in told


def test_no_two_are_the_same_and_none_is_anybody_elses():
    assert len(set(CODES.values())) == len(CODES)
    assert not {0, 1, 2} & set(CODES.values())
