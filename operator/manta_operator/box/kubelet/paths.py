"""Rewriting of mount paths: the box has no mount namespaces, so a container must be told the real folders.

Pure. `sandbox.py` applies it to command, arguments and the pod's own environment values. What a program reads from
files, or has built in, is not rewritten: it may look into the variable MOUNTS.
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

MOUNTS = "BOX_MOUNTS"
"""Environment variable of every container: JSON, mount path → real path."""

# A path begins where no other path or word goes on (`file://` excepted), and ends at a name's end.
_BEGIN = r"(?:(?<![\w.~%/+-])|(?<=\bfile://))"
_END = r"(?![\w.~%+-])"


def rewrite(text: str, mounts: Mapping[str, str]) -> str:
    """Replace every mount path in `text` (mount path → real path), the longest first, at path boundaries only."""
    table = {normal: real for path, real in mounts.items() if (normal := _normal(path)) != "/"}
    if not table:
        return text
    names = "|".join(re.escape(path) for path in sorted(table, key=len, reverse=True))
    return re.sub(f"{_BEGIN}(?:{names}){_END}", lambda match: table[match.group(0)], text)


def _normal(path: str) -> str:
    return str(PurePosixPath(path))
