"""Reads the folder of keys: files named after tenants, a digest a line. Whatever is wrong costs only its own line.

Nothing of a line is ever said but its number: it may be a key that somebody put there by mistake.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from manta_runtime.router.picker.tenants import ANONYMOUS, LONGEST_NAME, NAME

_LINE = re.compile(rb"sha256:([0-9a-fA-F]{64})(?:\s+#.*)?")
_MOST_BYTES = 4 << 20
_TRIES = 3
_FINGERPRINT = 12
_HOW = (
    "only `sha256:` and 64 hex digits are accepted; if it is a key itself, everybody who may read the Secret has seen "
    "it: make another one with `manta keys create`, or hash it with `manta keys hash`"
)


@dataclass(frozen=True, slots=True)
class Found:
    """Tenants by digest, and sentences about what was left out."""

    tenants: dict[bytes, str]
    problems: tuple[str, ...]


class _SwappedError(Exception):
    """Kubernetes put another version in place while this one was read."""


def read(folder: Path) -> Found:
    """Read all files of one version of the folder. Never raises: an unreadable folder holds no keys."""
    for _ in range(_TRIES):
        try:
            return _read(folder)
        except _SwappedError:
            continue
        except OSError as error:
            return Found({}, (f"the keys in {folder} cannot be read: {error.strerror}; is the Secret mounted there?",))
    return Found({}, (f"the keys in {folder} changed {_TRIES} times while they were read",))


def _read(folder: Path) -> Found:
    link = folder / "..data"
    version = link.resolve() if link.is_symlink() else folder
    owners: dict[bytes, dict[str, None]] = {}
    problems: list[str] = []
    try:
        names = sorted(path.name for path in version.iterdir() if not path.name.startswith("."))
    except OSError:
        _refuse_swapped(link, version)
        raise
    for name in names:
        for digest, problem in _digests(folder / name, version / name):
            if problem:
                problems.append(problem)
            else:
                owners.setdefault(digest, {})[name] = None
    _refuse_swapped(link, version)
    tenants = {}
    for digest, sharing in owners.items():
        if len(sharing) == 1:
            tenants[digest] = next(iter(sharing))
        else:
            problems.append(_shared(folder, digest, list(sharing)))
    return Found(tenants, tuple(problems))


def _refuse_swapped(link: Path, version: Path) -> None:
    if link.is_symlink() and link.resolve() != version:
        raise _SwappedError


def _digests(shown: Path, path: Path) -> Iterator[tuple[bytes, str]]:
    """(digest, "") or (b"", problem) for each line that says something."""
    if path.is_dir():
        return
    try:
        if problem := _not_a_tenant(shown, path):
            yield b"", problem
            return
        content = path.read_bytes()
    except OSError as error:
        yield b"", f"{shown} cannot be read: {error.strerror}; its keys are refused"
        return
    for number, raw in enumerate(content.split(b"\n"), start=1):
        line = raw.strip()
        if line and not line.startswith(b"#"):
            found = _LINE.fullmatch(line)
            yield (bytes.fromhex(found[1].decode()), "") if found else (b"", f"{shown}, line {number}: {_HOW}")


def _not_a_tenant(shown: Path, path: Path) -> str:
    if len(path.name) > LONGEST_NAME or not re.search(NAME, path.name):
        return f"{shown} is left out: a file's name is a tenant's, of letters, digits and, inside, '-', '.' and '_'"
    if path.name == ANONYMOUS:
        return f"{shown} is left out: {ANONYMOUS} is everybody where no keys are asked for; name the tenant otherwise"
    if path.stat().st_size > _MOST_BYTES:
        return f"{shown} is left out: it is larger than {_MOST_BYTES >> 20} MiB"
    return ""


def _shared(folder: Path, digest: bytes, names: list[str]) -> str:
    return (
        f"{folder}: the key {digest.hex()[:_FINGERPRINT]} is there for {' and '.join(names)}: refused for all of them, "
        "since nobody can say whose it is; revoke it with `manta keys revoke`"
    )
