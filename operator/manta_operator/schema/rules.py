"""CEL rules (`x-kubernetes-validations`): compiled once, run on every value they belong to.

The other walk of `StructuralSchema.validate`. A rule is not run on a value in which the first walk found a
wrong type or a missing field: it could only stumble over that.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

from manta_operator.schema import errors
from manta_operator.schema.cel_program import CelProgram, Variables, bind
from manta_operator.schema.cel_values import to_cel
from manta_operator.schema.errors import FieldError, Path, SchemaError, render_path
from manta_operator.schema.field_path import parse_field_path
from manta_operator.schema.olds import MISSING, old_child, old_item

_KINDS = MappingProxyType(
    {
        "FieldValueInvalid": errors.INVALID,
        "FieldValueForbidden": errors.FORBIDDEN,
        "FieldValueRequired": errors.REQUIRED,
        "FieldValueDuplicate": errors.DUPLICATE,
    }
)


@dataclass(frozen=True)
class Rule:
    """One entry of `x-kubernetes-validations`."""

    program: CelProgram
    message: str
    message_program: CelProgram | None
    path: Path
    kind: str

    @classmethod
    def compile(cls, where: str, entry: Mapping[str, Any]) -> Self:
        """Compile an entry.

        Raises:
            SchemaError: It does not compile, or it uses a reason, a fieldPath or an option that is not known here.
        """
        reason = entry.get("reason", "FieldValueInvalid")
        if reason not in _KINDS:
            raise SchemaError(f"{where}.reason: {reason!r} is none of {', '.join(_KINDS)}")
        if entry.get("optionalOldSelf"):
            raise SchemaError(f"{where}.optionalOldSelf: needs CEL's optional types, which this evaluator lacks")
        expression = entry.get("messageExpression")
        return cls(
            program=CelProgram(f"{where}.rule", entry["rule"]),
            message=entry.get("message") or f"failed rule: {entry['rule'].strip()}",
            message_program=CelProgram(f"{where}.messageExpression", expression) if expression else None,
            path=parse_field_path(f"{where}.fieldPath", entry.get("fieldPath", "")),
            kind=_KINDS[reason],
        )

    def check(self, variables: Variables, at: Path) -> FieldError | None:
        """Return what is wrong with the value at `at`, or None."""
        try:
            if self.program(variables) is True:
                return None
            kind, message = self.kind, self._message(variables)
        except ValueError as error:
            kind, message = errors.INVALID, str(error)
        return FieldError(render_path((*at, *self.path)), kind, message)

    def _message(self, variables: Variables) -> str:
        """Return the message for this value; a message expression that fails falls back, as in Kubernetes."""
        if self.message_program is None:
            return self.message
        try:
            message = self.message_program(variables)
        except ValueError:
            return self.message
        usable = isinstance(message, str) and message.strip() and "\n" not in message
        return str(message).strip() if usable else self.message


@dataclass(frozen=True)
class RuleTree:
    """The rules of one schema node and of what lies below it; branches without rules are left out."""

    schema: Mapping[str, Any]
    root: bool
    rules: tuple[Rule, ...]
    properties: Mapping[str, "RuleTree"]
    additional: "RuleTree | None"
    items: "RuleTree | None"

    @classmethod
    def compile(cls, schema: Mapping[str, Any], where: str = "", *, root: bool = False) -> Self | None:
        """Compile every rule at and below `schema`; None if there is none.

        Raises:
            SchemaError: A rule does not compile.
        """
        rules = tuple(
            Rule.compile(f"{where}.x-kubernetes-validations[{i}]".lstrip("."), entry)
            for i, entry in enumerate(schema.get("x-kubernetes-validations", ()))
        )
        children = {
            name: tree
            for name, child in schema.get("properties", {}).items()
            if (tree := cls.compile(child, f"{where}.{name}")) is not None
        }
        values, items = schema.get("additionalProperties"), schema.get("items")
        additional = cls.compile(values, f"{where}[*]") if isinstance(values, Mapping) else None
        inner = cls.compile(items, f"{where}[*]") if isinstance(items, Mapping) else None
        if not (rules or children or additional or inner):
            return None
        return cls(schema, root, rules, MappingProxyType(children), additional, inner)

    def check(
        self, value: Any, old: Any, path: Path, is_broken: Callable[[Path], bool]
    ) -> Iterator[tuple[Path, FieldError]]:
        """Yield every violation of a rule, outer rules first.

        Args:
            value: The value at `path`.
            old: The value stored there now, or MISSING.
            path: Where the value lies.
            is_broken: Tells whether rules cannot be judged at a path.
        """
        if self.rules and value is not None and not is_broken(path):
            yield from self._check_here(value, old, path)
        if isinstance(value, Mapping):
            for key, item in value.items():
                tree = self.properties.get(key, self.additional)
                if tree is not None:
                    yield from tree.check(item, old_child(old, key), (*path, key), is_broken)
        elif isinstance(value, list) and self.items is not None:
            for i, item in enumerate(value):
                yield from self.items.check(item, old_item(self.schema, old, item), (*path, i), is_broken)

    def _check_here(self, value: Any, old: Any, path: Path) -> Iterator[tuple[Path, FieldError]]:
        unchanged = old is not MISSING and old == value
        seen = {"self": to_cel(self.schema, value, root=self.root)}
        if old is not MISSING:
            seen["oldSelf"] = to_cel(self.schema, old, root=self.root)
        variables = bind(seen)
        for rule in self.rules:
            # Ratcheting: what did not change may stay, even if a rule would refuse it today.
            if unchanged and not rule.program.uses_old:
                continue
            if rule.program.uses_old and old is MISSING:
                continue
            if error := rule.check(variables, path):
                yield (*path, *rule.path), error
