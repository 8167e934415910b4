"""One compiled CEL expression, with the functions Kubernetes adds to the standard.

The evaluator is PyPI common-expression-language. We add the functions of Kubernetes that plain functions can
give. It lacks `quantity`, `url`, `ip`, `cidr`, `format`, `semver` and optional types: an expression that needs
them is refused when it is compiled, rather than failing on a user's object.
"""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cel
from cel.stdlib import STDLIB_FUNCTIONS

from manta_operator.schema.errors import SchemaError

_OPERATOR = re.compile(r"[^A-Za-z]")
_NATIVE = frozenset(
    [
        "bool",
        "bytes",
        "contains",
        "double",
        "duration",
        "dyn",
        "endsWith",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getFullYear",
        "getHours",
        "getMilliseconds",
        "getMinutes",
        "getMonth",
        "getSeconds",
        "int",
        "matches",
        "size",
        "startsWith",
        "string",
        "timestamp",
        "type",
        "uint",
    ]
)


def _find(text: str, pattern: str) -> str:
    match = re.search(pattern, text, re.ASCII)
    return match.group(0) if match else ""


def _find_all(text: str, pattern: str) -> list[str]:
    return [match.group(0) for match in re.finditer(pattern, text, re.ASCII)]


def _is_sorted(items: list[Any]) -> bool:
    return all(left <= right for left, right in itertools.pairwise(items))


_ADDED: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {name: function for name, function in STDLIB_FUNCTIONS.items() if name not in _NATIVE}
    | {"bool": STDLIB_FUNCTIONS["bool"], "find": _find, "findAll": _find_all, "isSorted": _is_sorted}
)


_FAILURES = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Bound:
    """Variables in the evaluator's own form, for any number of programs; `bind` makes it."""

    context: Any


Variables = Mapping[str, Any] | Bound


class CelProgram:
    """One expression, compiled once.

    Attributes:
        uses_old: The expression mentions `oldSelf`, so it is a transition rule.
    """

    def __init__(self, where: str, expression: str) -> None:
        """Compile `expression`; `where` says in errors where it stands in the schema.

        Raises:
            SchemaError: The expression is not CEL, or it uses a function that this evaluator lacks.
        """
        self._where = where
        try:
            self._program = cel.compile(expression)
        except ValueError as error:
            raise SchemaError(f"{where}: {expression!r} is not a CEL expression: {error}") from error
        called = {name for name in self._program.functions() if not _OPERATOR.match(name)}
        missing = called - _NATIVE - _ADDED.keys()
        if missing:
            raise SchemaError(
                f"{where}: {expression!r} uses {', '.join(sorted(missing))}, which this CEL evaluator lacks"
            )
        self._functions = {name: _ADDED[name] for name in called & _ADDED.keys()}
        self.uses_old = "oldSelf" in self._program.variables()

    def __call__(self, variables: Variables) -> Any:
        """Return the value of the expression; `variables` as they are, or as `bind` made them for several programs.

        Raises:
            ValueError: It has none, for example because it reads a field that is not there.
        """
        try:
            if isinstance(variables, Bound):
                return self._program.execute(variables.context)
            return self._program.execute(cel.Context(variables=dict(variables), functions=self._functions))
        except _FAILURES as error:
            raise ValueError(f"{self._where}: the rule failed to evaluate: {error}") from error


def bind(variables: Mapping[str, Any]) -> Variables:
    """Return the variables in the evaluator's own form: making it takes longer than most rules.

    What it cannot take is returned as it is, so that each program says of itself that it failed.
    """
    try:
        return Bound(cel.Context(variables=dict(variables), functions=dict(_ADDED)))
    except _FAILURES:
        return variables
