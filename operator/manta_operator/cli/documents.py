"""Objects to YAML documents for people: what `manta render` prints and the golden files hold."""

from collections.abc import Iterable
from typing import Any

import yaml


class _Plain(yaml.SafeDumper):
    """Writes a value that occurs twice twice: anchors (&id001) say nothing to a reader, and some tools refuse them."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def text(self, text: str) -> yaml.ScalarNode:
        """Write a text of several lines, a file in a ConfigMap, as the lines it has."""
        style = "|" if "\n" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Plain.add_representer(str, _Plain.text)


def documents(objects: Iterable[Any]) -> str:
    """Return one document for each object, keys in their own order."""
    return "".join(f"---\n{yaml.dump(obj, Dumper=_Plain, sort_keys=False)}" for obj in objects)
