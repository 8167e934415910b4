"""The catalog of models: what is known of a checkpoint by its name alone, for where nobody can read its files.

An entry is the part of the model's `config.json` that the arithmetic needs, in its own words, so that it goes through
`models.from_config` like any other; where it was read and when; and how many parameters it has, to check it by. The
data files lie in the folder `catalog` beside this module; a user's own come from a ConfigMap (`extension.py`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from manta_operator.facts.models import ModelFacts, from_config

SCHEME = "hf://"
_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]*/[A-Za-z0-9][-A-Za-z0-9_.]*")
_FIELDS = {"config", "parameters", "counted", "source", "read", "also"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with it


@dataclass(frozen=True)
class Entry:
    """One model of the catalog.

    `config` is the part of its `config.json` that is kept, in its own words; `source` says where it was read, `read`
    on which day (YYYY-MM-DD); `parameters` is how many it has in all, None where nobody has published or counted them.
    """

    name: str
    config: Mapping[str, Any]
    source: str
    read: str
    parameters: int | None = None

    def facts(self) -> ModelFacts:
        """Return what the fit needs to know of the model. Raises FactsError where the config does not say it."""
        return from_config(self.config)


class CatalogError(ValueError):
    """An entry cannot be taken; the message says which field, what is wrong with it and what to do."""


def from_entry(name: str, said: Any) -> Entry:
    """Return the entry `name` of a file of models: {config: {...}, source: ..., read: ..., parameters: ...}.

    Raises:
        CatalogError: It is none.
    """
    if not _NAME.fullmatch(name):
        raise CatalogError("not a name of a model: use organisation/name, as the hub and hf:// have it")
    if not isinstance(said, Mapping):
        raise CatalogError(f"should be a mapping with config, it is {type(said).__name__}; see docs/catalog.md")
    if unknown := sorted(map(str, set(said) - _FIELDS)):
        raise CatalogError(f"{', '.join(unknown)}: not a field of a model; there are {', '.join(sorted(_FIELDS))}")
    config, parameters = said.get("config"), said.get("parameters")
    if not isinstance(config, Mapping):
        raise CatalogError("config: missing, or not a mapping; copy the model's config.json there")
    if parameters is not None and (isinstance(parameters, bool) or not isinstance(parameters, int) or parameters < 1):
        raise CatalogError(
            "parameters: should be how many the model has in all, for example 8030261248; or leave it out"
        )
    return Entry(name, config, str(said.get("source", "")), str(said.get("read", "")), parameters)


@cache
def entries() -> Mapping[str, Entry]:
    """Return the models that Manta ships, by their name on the hub: organisation/name."""
    files = [file for file in resources.files(__package__).joinpath("catalog").iterdir() if file.name.endswith(".yaml")]
    found: dict[str, Entry] = {}
    for file in sorted(files, key=lambda file: file.name):
        for name, said in yaml.load(file.read_text("utf-8"), Loader=_LOADER).items():  # noqa: S506 a safe loader
            found |= {each: from_entry(each, said) for each in (name, *said.get("also", ()))}
    return found


@cache
def models() -> Mapping[str, ModelFacts]:
    """Return the facts of the models that Manta ships, by their name on the hub."""
    return {name: entry.facts() for name, entry in entries().items()}


def known(uri: str, extra: Mapping[str, ModelFacts] | None = None) -> ModelFacts | None:
    """Return what is known of the model at `uri` by its name alone; None where nothing is.

    A revision (`hf://organisation/name@revision`) is taken for one of the same shape: those of a hub's model are.

    Args:
        uri: `spec.model.uri`; only models of the hub have a name that means the same everywhere.
        extra: A user's own models by name (`Extension.models`); they come before those that Manta ships.
    """
    if not uri.startswith(SCHEME):
        return None
    name = uri.removeprefix(SCHEME).partition("@")[0].rstrip("/")
    if extra and name in extra:
        return extra[name]
    return _shipped(name)


@cache
def _shipped(name: str) -> ModelFacts | None:
    entry = entries().get(name)
    return entry.facts() if entry else None
