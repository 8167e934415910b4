"""Objects to YAML documents for people: what `manta render` prints and the golden files hold."""

from collections.abc import Iterable
from typing import Any

import yaml


class _Plain(yaml.SafeDumper):
    """Writes a value that occurs twice twice: anchors (&id001) say nothing to a reader, and some tools refuse them."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def documents(objects: Iterable[Any]) -> str:
    """Return one document for each object, keys in their own order."""
    return "".join(f"---\n{yaml.dump(obj, Dumper=_Plain, sort_keys=False)}" for obj in objects)
