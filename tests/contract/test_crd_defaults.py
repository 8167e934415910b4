"""Every default of the CRD is what a server fills in where a body leaves the field out."""

from typing import Any

import pytest
from crd_cases import ITEMS, MINIMAL, admitted, body_with, walk

from manta_operator.api.crd import open_api_schema
from manta_operator.api.models import LLMDeploymentSpec

DEFAULTS = [(path, node["default"]) for path, node in walk(open_api_schema()) if "default" in node]


def found(spec: dict[str, Any], path: str) -> Any:
    """The value at `path`."""
    node: Any = {"spec": spec}
    for step in path.split("."):
        node = node[step]
    return node


def test_the_minimal_body_gets_every_default() -> None:
    spec = admitted(MINIMAL)
    plain = {path: default for path, default in DEFAULTS if not isinstance(default, dict)}
    assert len(plain) > 20
    assert {path: found(spec, path) for path in plain} == plain
    objects = [path for path, default in DEFAULTS if isinstance(default, dict)]
    assert [path for path in objects if not isinstance(found(spec, path), dict)] == []


def test_items_of_lists_have_no_defaults() -> None:
    # Server-side apply writes an item as it was applied and then fills it in: every apply would be a write, for ever.
    assert [path for path, _ in DEFAULTS if "[*]" in path] == []


@pytest.mark.parametrize(("holder", "item"), [(path, item) for path, item in ITEMS.items() if path.startswith("spec")])
def test_items_are_stored_as_they_were_applied(holder: str, item: dict[str, Any]) -> None:
    assert found(admitted(body_with(holder, [item])), holder) == [item]


def test_nothing_else_is_filled_in() -> None:
    # What the models fill in and the server does not, or the other way round, GitOps tools would show as drift.
    model = LLMDeploymentSpec.model_validate(MINIMAL["spec"])
    assert admitted(MINIMAL) == model.model_dump(mode="json", by_alias=True, exclude_none=True)
