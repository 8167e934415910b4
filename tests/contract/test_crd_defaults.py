"""Every default of the CRD is what a server fills in where a body leaves the field out."""

from typing import Any

import pytest
from crd_cases import ITEMS, MINIMAL, NODES, admitted, body_with

from manta_operator.api.models import LLMDeploymentSpec

OPTIONAL = [path for path in ITEMS if path.startswith("spec") and NODES[path]["type"] == "object"]
"""Objects that have no default, and so no fields where they are left out."""
ALL_DEFAULTS = [(path, node["default"]) for path, node in NODES.items() if "default" in node]
DEFAULTS = [entry for entry in ALL_DEFAULTS if not entry[0].startswith(tuple(f"{path}." for path in OPTIONAL))]


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


@pytest.mark.parametrize("holder", OPTIONAL)
def test_an_optional_object_gets_its_defaults_when_it_is_there(holder: str) -> None:
    below: dict[str, Any] = {}
    for path, default in ALL_DEFAULTS:  # outer ones come first
        if path.startswith(f"{holder}."):
            *outer, last = path.removeprefix(f"{holder}.").split(".")
            node = below
            for step in outer:
                node = node[step]
            node[last] = dict(default) if isinstance(default, dict) else default
    assert found(admitted(body_with(holder, ITEMS[holder])), holder) == ITEMS[holder] | below
    parent, _, name = holder.rpartition(".")
    assert parent in OPTIONAL or name not in found(admitted(MINIMAL), parent)


def test_items_of_lists_have_no_defaults() -> None:
    # Server-side apply writes an item as it was applied and then fills it in: every apply would be a write, for ever.
    assert [path for path, _ in ALL_DEFAULTS if "[*]" in path] == []


@pytest.mark.parametrize(
    ("holder", "item"),
    [(path, item) for path, item in ITEMS.items() if path.startswith("spec") and path not in OPTIONAL],
)
def test_items_are_stored_as_they_were_applied(holder: str, item: dict[str, Any]) -> None:
    assert found(admitted(body_with(holder, [item])), holder) == [item]


def test_nothing_else_is_filled_in() -> None:
    # What the models fill in and the server does not, or the other way round, GitOps tools would show as drift.
    model = LLMDeploymentSpec.model_validate(MINIMAL["spec"])
    assert admitted(MINIMAL) == model.model_dump(mode="json", by_alias=True, exclude_none=True)
