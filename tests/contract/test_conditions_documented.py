"""docs/conditions.md against the code: every condition and every reason is explained, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "operator/manta_operator"
TEXT = (ROOT / "docs/conditions.md").read_text("utf-8").partition("\n## ")[0]
MODULES = ("conditions", "planned", "autoscale_condition")
TABLE = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TEXT.splitlines() if line.startswith("| ")]


def conditions() -> Iterator[tuple[str, str]]:
    """Type and reason of every Condition that the code makes with both written out."""
    trees = [ast.parse((SOURCE / f"planning/{name}.py").read_text("utf-8")) for name in MODULES]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Condition":
            kind, _, reason = node.args[:3]
            if isinstance(kind, ast.Constant) and isinstance(reason, ast.Constant):
                yield str(kind.value), str(reason.value)


def documented() -> dict[str, set[str]]:
    """Condition to the reasons in its rows."""
    found: dict[str, set[str]] = {}
    kind = ""
    for row in TABLE[1:]:
        kind = row[0].strip("`") or kind
        found.setdefault(kind, set()).update(re.findall(r"`(\w+)`", row[2]))
    return found


def test_every_reason_that_is_written_out_is_explained() -> None:
    explained = documented()
    made = set(conditions())
    assert len(made) > 20
    assert sorted(f"{kind} {reason}" for kind, reason in made if reason not in explained[kind]) == []


def test_reasons_of_the_api_server_and_of_rollouts_are_explained() -> None:
    errors = re.findall(r'^    reason = "(\w+)"', (SOURCE / "controller/errors.py").read_text("utf-8"), re.MULTILINE)
    told = re.findall(r'return "\w+", "(\w+)"', (SOURCE / "planning/rollout_words.py").read_text("utf-8"))
    assert set(errors) - {"ClusterError"} <= documented()["Reconciled"]  # ClusterError is their base, never raised
    assert told
    assert set(told) <= documented()["Progressing"]
