"""The catalog of models: what is known of a checkpoint by its name alone, for where nobody can read its files.

An entry is the part of the model's `config.json` that the arithmetic needs, in its own words, so that it goes through
`models.from_config` like any other; where it was read and when; and how many parameters it has, to check it by. The
data files lie in the folder `catalog` beside this module; a user's own come from a ConfigMap (`extension.py`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from reprlib import repr as shown
from typing import Any

import yaml

from manta_operator.facts.models import ModelFacts, from_config

SCHEME = "hf://"
_NAME = re.compile(
    r"[A-Za-z0-9][-A-Za-z0-9_.]*/[A-Za-z0-9][-A-Za-z0-9_.]*(@[-A-Za-z0-9_./]+)?|(s3|gs|pvc|oci|file)://[!-~]+"
)
"""On the hub, with a revision if that is another model; a user's own may be elsewhere: its name is its URI."""
_FIELDS = {"also", "config", "parameters", "read", "source"}
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
        return replace(from_config(self.config), basis="catalog")


class CatalogError(ValueError):
    """An entry cannot be taken; the message says which field, what is wrong with it and what to do."""


def from_entry(name: str, said: Any) -> Entry:
    """Return the entry `name` of a file of models: {config: {...}, source: ..., read: ..., parameters: ...}.

    `also`, other names of the same, is for whoever reads the file.

    Raises:
        CatalogError: It is none.
    """
    if not _NAME.fullmatch(name):
        raise CatalogError(
            "not a name of a model: use organisation/name as hf:// has it, organisation/name@revision, or the URI of "
            "one that is elsewhere"
        )
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
    source, read = (each if isinstance(each := said.get(key, ""), str) else shown(each) for key in ("source", "read"))
    return Entry(name, config, source, read, parameters)


@cache
def entries() -> Mapping[str, Entry]:
    """Return the models that Manta ships, by their name on the hub: organisation/name."""
    return {name: entry for file in _texts() for name, entry in _entries(file).items()}


def models() -> Mapping[str, ModelFacts]:
    """Return the facts of the models that Manta ships, by their name on the hub."""
    return {name: entry.facts() for name, entry in entries().items()}


def known(uri: str, extra: Mapping[str, ModelFacts] | None = None) -> ModelFacts | None:
    """Return what is known of the model at `uri` by its name alone; None where nothing is.

    A revision (`hf://organisation/name@revision`) that has no entry of its own is taken for one of the same shape.

    Args:
        uri: `spec.model.uri`; only models of the hub have a name that means the same everywhere.
        extra: A user's own models by name (`Extension.models`); they come before those that Manta ships.
    """
    if not uri.startswith(SCHEME):
        return (extra or {}).get(uri)
    full = uri.removeprefix(SCHEME).rstrip("/")
    name = full.partition("@")[0]
    own = extra or {}
    return own.get(full) or own.get(name) or _shipped(name)


@cache
def _shipped(name: str) -> ModelFacts | None:
    for file, text in _texts().items():
        if name in text and (entry := _entries(file).get(name)):  # the other files need not be parsed
            return entry.facts()
    return None


@cache
def _texts() -> Mapping[str, str]:
    folder = resources.files(__package__).joinpath("catalog")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name: file.read_text("utf-8") for file in files}


@cache
def _entries(file: str) -> Mapping[str, Entry]:
    said = yaml.load(_texts()[file], Loader=_LOADER)  # noqa: S506 a safe loader
    return {each: from_entry(each, entry) for name, entry in said.items() for each in (name, *entry.get("also", ()))}
