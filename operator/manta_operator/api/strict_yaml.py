"""YAML as a Kubernetes manifest means it: no duplicate keys, only text as keys, dates left as text."""

from collections.abc import Hashable
from typing import Any

import yaml
from yaml.constructor import ConstructorError


class _Loader(yaml.SafeLoader):
    """The safe loader, minus what would surprise: the last of two equal keys winning, dates turning into objects."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                what = f"the key {key.value!r} is not text: put it in quotes"
                raise ConstructorError(None, None, what, key.start_mark)
            if key.value in seen:
                what = f"the key {key.value!r} is given twice in one mapping"
                raise ConstructorError(None, None, what, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _as_text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _as_text)


def parse_documents(text: str) -> list[Any]:
    """Return the documents of a YAML or JSON text; an empty document is None.

    Raises:
        yaml.YAMLError: It is not YAML; most carry the line and the column.
    """
    return list(yaml.load_all(text, Loader=_Loader))
