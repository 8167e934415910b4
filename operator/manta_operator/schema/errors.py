"""Errors of the structural schema, worded as a Kubernetes API server words them, and the paths they carry."""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
"""Where a value lies: property names and map keys as text, positions in lists as numbers."""

REQUIRED = "Required value"
INVALID = "Invalid value"
UNSUPPORTED = "Unsupported value"
DUPLICATE = "Duplicate value"
FORBIDDEN = "Forbidden"
TOO_LONG = "Too long"
TOO_MANY = "Too many"
UNKNOWN = "Unknown field"

_PLAIN_KEY = re.compile(r"[A-Za-z_$][-A-Za-z0-9_$]*\Z")


class SchemaError(ValueError):
    """The schema itself is not structural, or one of its rules does not compile."""


@dataclass(frozen=True)
class FieldError:
    """One thing that is wrong with one value.

    Attributes:
        path: Where, for example `spec.engine.args[2]`; empty for the object itself.
        kind: What kind of error, in Kubernetes' words, for example `Invalid value`.
        message: What is wrong and what would be right; may be empty where the kind says it all.
        value: The offending value (or the name of its type) as JSON; empty where Kubernetes shows none.
        blocks_rules: CEL rules on this value, or on what it is part of, cannot be judged before it is put right.
    """

    path: str
    kind: str
    message: str
    value: str = ""
    blocks_rules: bool = False

    @property
    def body(self) -> str:
        """The error without its path, as Kubernetes puts it into a Status cause."""
        return ": ".join(part for part in (self.kind, self.value, self.message) if part)

    def __str__(self) -> str:
        return f"{self.path or '<object>'}: {self.body}"


def render_path(path: Path) -> str:
    """Return `path` as text: `spec.engine.args[2]`; keys with dots or slashes as `nodeSelector[example.com/a]`."""
    text = ""
    for part in path:
        if isinstance(part, int) or not _PLAIN_KEY.match(part):
            text += f"[{printable(str(part))}]"
        else:
            text += f".{part}" if text else part
    return text


def render_value(value: Any) -> str:
    """Return `value` as JSON, shortened where it would fill the screen."""
    text = json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))
    return printable(text if len(text) <= 200 else f"{text[:200]}…")


def printable(text: str) -> str:
    """Return `text` with what no encoding can carry, halves of surrogate pairs, written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the name among `known` that the user most likely meant, or None if nothing is close."""
    by_lower = {candidate.lower(): candidate for candidate in sorted(known)}
    matches = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None
