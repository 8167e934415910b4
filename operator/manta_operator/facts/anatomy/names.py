"""Names of modules as checkpoints write them: words, globs and expressions. Pure; `kept` asks.

The files are strangers'. What they write is matched by RE2, in time linear in a name, and never by `re`: a dozen
characters can keep its backtracking busy for ever, and the whole operator with it. What RE2 does not know (a look
ahead), or what would take too long all the same, is not counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import re2

from manta_operator.facts.anatomy.fields import Uncountable

_LENGTH = 1024
"""Characters of one expression; the longest of the catalog's models has 70."""
_SHOWN = 80
_MEMORY = 2**20
"""Bytes that RE2 may take for one expression, its cache included."""


class Names:
    """Entries in the order in which a checkpoint writes them; a later one has the last word.

    Raises Uncountable for an expression that cannot be matched.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._words: dict[str, int] = {}
        self._expressions: list[tuple[int, Any]] = []
        for number, entry in enumerate(entries):
            if is_expression(entry):
                self._expressions.append((number, _compiled(entry)))
            else:
                self._words[entry] = number
        self._expressions.reverse()

    @property
    def size(self) -> int:
        """Instructions of all expressions: what a look at one name costs, and more with each."""
        return sum(expression.programsize for _, expression in self._expressions)

    def last(self, names: Sequence[str]) -> int | None:
        """Return the number of the last entry that matches one of `names`; None where none does."""
        found = -1
        if self._words:
            found = max((self._words.get(part, -1) for name in names for part in _parts(name)), default=-1)
        for number, expression in self._expressions:
            if number < found:
                break
            if any(expression.match(name) for name in names):
                return number
        return None if found < 0 else found


def is_expression(entry: str) -> bool:
    """Whether an entry is a glob or an expression; anything else is a run of whole words of a name."""
    return entry.startswith("re:") or "*" in entry


def _compiled(entry: str) -> Any:
    """Return an entry as an expression that is compared from the start of a name, as vLLM does."""
    shown = entry if len(entry) <= _SHOWN else f"{entry[:_SHOWN]}..."
    if len(entry) > _LENGTH:
        raise Uncountable(f"config.json: quantization_config names modules by {shown}, of {len(entry)} characters")
    options = re2.Options()
    options.log_errors, options.max_mem = False, _MEMORY
    text = entry[3:] if entry.startswith("re:") else ".*".join(map(re2.escape, entry.split("*"))) + "$"
    try:
        return re2.compile(text, options)
    except (re2.error, UnicodeError) as error:
        raise Uncountable(f"config.json: quantization_config names modules by {shown}, which is not counted") from error


def _parts(name: str) -> Iterator[str]:
    """Yield every run of whole words of a dotted name."""
    words = name.split(".")
    return (".".join(words[start:end]) for start in range(len(words)) for end in range(start + 1, len(words) + 1))
