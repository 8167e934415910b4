r"""The part of Kubernetes' JSONPath that printer columns use. Called by `tables` and `cells`.

Steps: `.name`, `.name\.with\.dots`, `['name']`, `[0]`, `[-1]`, `[*]`, `.*`, `[?(@.a.b=='text')]` with
== != < <= > >= or none of them (the field exists). Braces around the whole are allowed.
No recursive descent, slices or unions.
"""

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

_STEP = re.compile(
    r"""\.(?P<name>(?:\\.|[^.\[\]\\\s])+)
      | \[\?\(\s*@(?P<inner>[^=!<>]*?)\s*(?:(?P<op>[=!<>]=|<|>)\s*(?P<value>'[^']*'|"[^"]*"|[^'"()\s]+)\s*)?\)\]
      | \[(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)")\]
      | \[(?P<index>-?\d+)\]
      | \[(?P<all>\*)\]""",
    re.VERBOSE,
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
Step = Callable[[Any], Iterable[Any]]


def find(path: str, obj: Any) -> list[Any]:
    """Return everything a path leads to, in document order; empty if it leads nowhere.

    Raises:
        ValueError: The path is not of the subset above.
    """
    found = [obj]
    for step in parse(path):
        found = [value for one in found for value in step(one)]
    return found


@cache
def parse(path: str) -> tuple[Step, ...]:
    """Compile a path.

    Raises:
        ValueError: The path is not of the subset above; says where.
    """
    text = path[1:-1] if path.startswith("{") and path.endswith("}") else path
    steps, position = [], 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            message = (
                f"JSONPath {path!r} is not understood from {text[position:]!r} on; use a path such as .spec.replicas"
            )
            raise ValueError(message)
        steps.append(_step(match))
        position = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["all"] or match["name"] == "*":
        return _children
    if match["index"]:
        return _element(int(match["index"]))
    if match["inner"] is not None:
        return _filter(match["inner"], match["op"], match["value"])
    name = match["name"] or match["single"] or match["double"] or ""
    return _field(re.sub(r"\\(.)", r"\1", name))


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _element(index: int) -> Step:
    return lambda value: [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else ()


def _field(name: str) -> Step:
    return lambda value: [value[name]] if isinstance(value, dict) and name in value else ()


def _filter(inner: str, op: str | None, literal: str | None) -> Step:
    wanted = _literal(literal or "null")
    steps = parse(inner)

    def matches(element: Any) -> bool:
        found = [element]
        for step in steps:
            found = [value for one in found for value in step(one)]
        if op is None:
            return bool(found)
        try:
            return any(_COMPARE[op](value, wanted) for value in found)
        except TypeError:  # text compared with a number
            return False

    def keep(value: Any) -> Iterator[Any]:
        return (element for element in _children(value) if matches(element))

    return keep


def _literal(text: str) -> Any:
    if text[0] in "'\"":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text
