"""Every default of the CRD is what a server fills in where a body leaves the field out."""

from typing import Any

import pytest
from crd_cases import ITEMS, MINIMAL, admitted, body_with, walk

from manta_operator.api.crd import open_api_schema
from manta_operator.api.models import LLMDeploymentSpec

DEFAULTS = [(path, node["default"]) for path, node in walk(open_api_schema()) if "default" in node]
IN_ITEMS = [(path, default) for path, default in DEFAULTS if "[*]" in path]
TOP = [(path, default) for path, default in DEFAULTS if "[*]" not in path]


def found(spec: dict[str, Any], path: str) -> Any:
    """The value at `path`, in the first item of lists."""
    node: Any = {"spec": spec}
    for step in path.split("."):
        node = node[step.removesuffix("[*]")]
        node = node[0] if step.endswith("[*]") else node
    return node


def test_the_minimal_body_gets_every_default() -> None:
    spec = admitted(MINIMAL)
    plain = {path: default for path, default in TOP if not isinstance(default, dict)}
    assert len(plain) > 20
    assert {path: found(spec, path) for path in plain} == plain
    objects = [path for path, default in TOP if isinstance(default, dict)]
    assert [path for path in objects if not isinstance(found(spec, path), dict)] == []


@pytest.mark.parametrize(("path", "default"), IN_ITEMS, ids=[path for path, _ in IN_ITEMS])
def test_items_get_their_defaults(path: str, default: Any) -> None:
    holder, _, name = path.rpartition("[*].")
    item = {key: value for key, value in ITEMS[holder].items() if key != name}
    if name == "key":  # only a toleration with this operator may leave it out
        item["operator"] = "Exists"
    assert found(admitted(body_with(holder, [item])), path) == default


def test_nothing_else_is_filled_in() -> None:
    # What the models fill in and the server does not, or the other way round, GitOps tools would show as drift.
    model = LLMDeploymentSpec.model_validate(MINIMAL["spec"])
    assert admitted(MINIMAL) == model.model_dump(mode="json", by_alias=True, exclude_none=True)
