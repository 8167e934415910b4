"""What the CEL rules cost an API server, by its own arithmetic: a CRD that is too dear is refused, and so are objects.

    a text of n bytes matched by a pattern of p    ceil((n + 1) / 10) x ceil(p / 4)             cel-go, checker/cost.go
    a beginning of k characters                    ceil(k / 10)
    estimated, when the CRD is written     every text as long as its maxLength, 4 bytes a letter, every list full
    counted, when an object is             what is there; the right side of && only where the left one is true

Limits: apiextensions-apiserver, apiserver/schema/cel (10M a rule, 100M a CRD; run: 1M a rule, 10M an object). Ours are
well below, so that the next field is not the one that breaks the upgrade.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from manta_operator.api.crd import open_api_schema
from manta_operator.api.flags import ARGS_RULES

MOST_OF_A_RULE, MOST_OF_THE_CRD = 5_000_000, 60_000_000
MOST_OF_A_RUN, MOST_OF_AN_OBJECT = 500_000, 2_500_000
REQUEST = 3 * 2**20
"""Bytes of the largest request: as long may be what has no maxLength. A list without maxItems as full."""
STEP = 10
"""What an item of a list costs beside what is asked of it, generously."""

LOOP = re.compile(r"(self[\w.]*)\.(?:exists|all|filter|map)\((\w+),")
MATCH = re.compile(r"(?:([\w.]+)\.startsWith\('([^']*)'\) && )?([\w.]+)\.matches\('((?:[^'\\]|\\.)*)'\)")


class Placed(NamedTuple):
    """A rule, the object of the schema it stands on, and how many of them there may be."""

    path: str
    node: dict[str, Any]
    many: int
    texts: tuple[str, ...]


def walk(node: dict[str, Any], path: str = "", many: int = 1) -> Iterator[Placed]:
    for rule in node.get("x-kubernetes-validations", ()):
        yield Placed(path, node, many, (rule["rule"], rule.get("messageExpression", "")))
    for name, child in node.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}", many)
    if "items" in node:
        yield from walk(node["items"], f"{path}[*]", many * most_items(node))


def most_items(node: dict[str, Any]) -> int:
    return int(node.get("maxItems") or REQUEST // 2)


def most_bytes(node: dict[str, Any]) -> int:
    if node.get("enum"):
        return max(map(len, node["enum"]))
    return 4 * int(node["maxLength"]) if "maxLength" in node else REQUEST


def below(node: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema of `self.a.b` on a node; names of a loop stand for its items."""
    for name in path.split(".")[1:]:
        node = node["properties"].get(name) or {"maxLength": 253}  # metadata, which the schema leaves out
    return node


def matching(size: int, pattern: str) -> int:
    return math.ceil((size + 1) / 10) * math.ceil(len(pattern) / 4)


def estimate(placed: Placed) -> int:
    return sum(_estimate(placed.node, text) for text in placed.texts) * placed.many


def _estimate(node: dict[str, Any], text: str) -> int:
    loops = {name: below(node, path) for path, name in LOOP.findall(text)}
    cost = sum(most_items(each) * STEP for each in loops.values())
    for _, prefix, target, pattern in MATCH.findall(text):
        first, _, rest = target.partition(".")
        of = loops.get(first)
        item = below(of["items"] if of else node, f"self.{rest}" if rest else "self")
        each = matching(most_bytes(item), pattern) + math.ceil(len(prefix) / 10)
        cost += each * (most_items(of) if of else 1)
    return cost + STEP


SCHEMA = open_api_schema()
RULES = list(walk(SCHEMA))
ARGS = SCHEMA["properties"]["spec"]["properties"]["engine"]["properties"]["args"]


def test_the_whole_crd_is_far_from_too_dear() -> None:
    assert len(RULES) > 100
    costs = {f"{placed.path}: {placed.texts[0]}": estimate(placed) for placed in RULES}
    assert {rule for rule, cost in costs.items() if cost > MOST_OF_A_RULE} == set()
    assert MOST_OF_THE_CRD / 3 < sum(costs.values()) < MOST_OF_THE_CRD  # a sum of nothing would be far from it, too


def run(text: str, arg: str, many: int) -> int:
    """What a rule on `spec.engine.args` costs for a list of the same argument."""
    each = STEP
    for _, prefix, _, pattern in MATCH.findall(text):
        each += math.ceil(len(prefix) / 10) + (matching(len(arg), pattern) if arg.startswith(prefix) else 0)
    return each * many


BEGINNINGS = sorted({prefix for rule in ARGS_RULES for _, prefix, _, _ in MATCH.findall(rule.rule) if prefix})


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_the_dearest_arguments_are_taken_without_trouble(beginning: str) -> None:
    arg = f"{beginning}=".ljust(ARGS["items"]["maxLength"], "x")
    costs = [run(rule.rule, arg, most_items(ARGS)) for rule in ARGS_RULES]
    assert max(costs) < MOST_OF_A_RUN
    assert sum(costs) < MOST_OF_AN_OBJECT


def test_every_flag_is_looked_for_behind_its_beginning() -> None:
    for rule in ARGS_RULES[1:]:
        [(_, prefix, _, pattern)] = MATCH.findall(rule.rule)
        assert len(prefix) >= len("--ab")
        assert pattern.startswith(f"^{prefix}")
