r"""Text that is none: YAML and JSON can spell half of a surrogate pair (`\ud800`), which no encoding can carry.

A Kubernetes API server puts U+FFFD in its place without a word; here it is an error, named before CEL, which cannot
take such a text at all, is asked about anything around it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from manta_operator.schema import errors
from manta_operator.schema.errors import FieldError, Path, printable, render_path


def check_text(value: Any, path: Path = ()) -> Iterator[tuple[Path, FieldError]]:
    """Yield an error for every text and every key at and below `path` that cannot be encoded."""
    if isinstance(value, str) and printable(value) != value:
        yield path, _error(path, "holds")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str) and printable(key) != key:
                yield (*path, key), _error((*path, key), "the key holds")
            yield from check_text(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from check_text(item, (*path, i))


def _error(path: Path, what: str) -> FieldError:
    message = f"{what} half of a surrogate pair, which is no character: write the whole character, or leave it out"
    return FieldError(render_path(path), errors.INVALID, message, blocks_rules=True)
