"""File names that a source may give: a repository is written by strangers. Pure; checked before anything is created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manta_runtime.models.failure import PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterable

MANIFEST = ".manta-model.json"
MAX_FILES = 10_000
"""The largest models have some hundreds of files."""
_LONGEST_NAME = 255
_LONGEST_PATH = 1024


def check_names(paths: Iterable[str], where: str) -> None:
    """Refuse what must not become a path below the cache; `where` is named in errors.

    Raises PermanentError for the first name that leaves the folder, cannot be a file, or meets another one.
    """
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        if reason := _wrong(path):
            raise PermanentError(f"{where} has a file named {path[:200]!r}, which {reason}: it is not fetched")
        folded = path.casefold()
        if folded in seen:
            raise PermanentError(
                f"{where} has {seen[folded]!r} and {path!r}, which differ by case only: some file systems make one of "
                "them. Rename one at the source"
            )
        seen[folded] = path
        parts = folded.split("/")
        folders.update({"/".join(parts[:end]): path for end in range(1, len(parts))})
        if len(seen) > MAX_FILES:
            raise PermanentError(f"{where} has more than {MAX_FILES} files to fetch: that is no model")
    for folded, path in seen.items():
        if folded in folders:
            raise PermanentError(f"{where} has a file {path!r} where {folders[folded]!r} needs a folder")


def _wrong(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or ".." in parts:
        return "leaves the folder of the model"
    if "" in parts or "." in parts:
        return "has empty parts"
    if any(ord(letter) < 32 or letter in "\\\x7f" for letter in path):
        return "has control characters or backslashes"
    if len(path.encode(errors="surrogatepass")) > _LONGEST_PATH or any(
        len(part.encode(errors="surrogatepass")) > _LONGEST_NAME for part in parts
    ):
        return "is too long"
    if parts[0] == MANIFEST:
        return "is the name of the fetch's own list"
    return "is no valid text" if any("\ud800" <= letter <= "\udfff" for letter in path) else ""
