"""A CRD's openAPIV3Schema at work: prune, then default, then validate, as an API server does on admission.

Used by the box's API server and by the command line, so that both judge a manifest alike. Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from manta_operator.schema import default as defaulting
from manta_operator.schema import prune as pruning
from manta_operator.schema.errors import FieldError, Path, SchemaError
from manta_operator.schema.olds import MISSING
from manta_operator.schema.rules import RuleTree
from manta_operator.schema.structure import check_structural
from manta_operator.schema.text import check_text
from manta_operator.schema.values import check_values

__all__ = ["FieldError", "SchemaError", "StructuralSchema"]


class StructuralSchema:
    """One openAPIV3Schema, checked and its rules compiled."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Take the openAPIV3Schema of one version of a CRD.

        Raises:
            SchemaError: It is not structural, or a rule does not compile.
        """
        check_structural(schema)
        self._schema = schema
        self._rules = RuleTree.compile(schema, root=True)

    def prune(self, obj: Any) -> tuple[Any, tuple[str, ...]]:
        """Return a copy without unknown fields, and the paths of those, in document order.

        apiVersion, kind and metadata are kept as they are: they have a schema of their own.
        """
        return pruning.prune(self._schema, obj)

    def default(self, obj: Any) -> Any:
        """Return a copy with the schema's defaults where the user said nothing."""
        return defaulting.default(self._schema, obj)

    def validate(self, obj: Any, old: Any = None) -> tuple[FieldError, ...]:
        """Return everything that is wrong with a pruned and defaulted object; empty if it is valid.

        Args:
            obj: The object.
            old: The object as it is stored now, for an update: what did not change is not judged again, and
                transition rules compare with it. None for a create.
        """
        before = MISSING if old is None else old
        found = [*check_text(obj), *check_values(self._schema, obj, before)]
        broken = _prefixes(path for path, error in found if error.blocks_rules)
        if self._rules is not None:
            found += self._rules.check(obj, before, (), lambda path: path in broken)
        return tuple(dict.fromkeys(error for _, error in found))


def _prefixes(paths: Iterable[Path]) -> frozenset[Path]:
    """Return the paths and every path above them."""
    return frozenset(path[:length] for path in paths for length in range(len(path) + 1))
