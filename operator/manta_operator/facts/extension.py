"""What a user adds to the catalog: the data of a ConfigMap as models and accelerators. Pure.

    models.yaml        organisation/name: {config: {...}, parameters: ..., source: ..., read: ...}
    accelerators.yaml  type: {resource: ..., memoryGiB: ..., perHour: ...}, or what differs from one that Manta ships

An entry that is wrong is said, and the one that was read last under its name stays in force; a key that is no YAML
takes away none of its entries. So a typo takes nothing away; only what is no longer there is gone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from reprlib import repr as shown
from typing import Any, TypeVar

import yaml

from manta_operator.api.printable import printable
from manta_operator.api.strict_yaml import parse_documents
from manta_operator.facts import accelerators, catalog
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.models import FactsError, ModelFacts

MODELS = "models.yaml"
ACCELERATORS = "accelerators.yaml"
_KEYS = (MODELS, ACCELERATORS)
_NAME_LIMIT = 200
_WORDS_LIMIT = 500
_PROBLEMS = 50
_SHARE = 0.1
"""How far the parameters that are counted may be from those that are said: vLLM's tables of positions count, too."""
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Extension:
    """A user's own entries, and a sentence for each that could not be taken: which key, which entry, what to do."""

    models: Mapping[str, ModelFacts] = field(default_factory=dict)
    accelerators: Mapping[str, Accelerator] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def extend(data: Mapping[str, str], last: Extension | None = None) -> Extension:
    """Return what the data of a ConfigMap adds to the catalog.

    Args:
        data: Of the ConfigMap.
        last: What was in force before: where something is wrong now, that stays.
    """
    before = last or Extension()
    problems = [
        f"{printable(key, _NAME_LIMIT)}: not a key that Manta reads; use {' or '.join(_KEYS)}"
        for key in sorted(set(data) - set(_KEYS))
    ]
    return Extension(
        models=_entries(data, MODELS, _model, problems, before.models),
        accelerators=_entries(data, ACCELERATORS, _accelerator, problems, before.accelerators),
        problems=_first(problems),
    )


def _first(problems: list[str]) -> tuple[str, ...]:
    """Return as many of the problems as anybody reads: a megabyte of YAML can have a hundred thousand."""
    more = len(problems) - _PROBLEMS
    return (*problems[:_PROBLEMS], *([f"and {more} problems more"] if more > 0 else ()))


def _entries(
    data: Mapping[str, str],
    key: str,
    read: Callable[[str, Any], _Read],
    problems: list[str],
    last: Mapping[str, _Read],
) -> dict[str, _Read]:
    """Read the entries of one key; what is wrong with some goes to `problems`, and these stay as they were `last`."""
    found: dict[str, _Read] = {}
    try:
        documents = [document for document in parse_documents(data.get(key, "")) if document is not None]
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        stays = "what was read of it last stays in force" if last else f"nothing of {key} is in force"
        problems.append(f"{key}: {_not_yaml(error)}; {stays} until that is put right")
        return dict(last)
    for document in documents:
        if not isinstance(document, Mapping):
            problems.append(f"{key}: should map names to entries, it is {type(document).__name__}; see docs/catalog.md")
            found |= last
            continue
        for name, said in document.items():
            both = (name, *_also(said))
            try:
                found |= {each: read(each, said) for each in both}
            except (catalog.CatalogError, FactsError, accelerators.AcceleratorError) as error:
                found |= {each: last[each] for each in both if each in last}
                problems.append(printable(f"{key}: {printable(name, _NAME_LIMIT)}: {error}", _WORDS_LIMIT))
    return found


def _also(said: Any) -> list[str]:
    """Return the other names of an entry; what is wrong with them, `read` says."""
    names = said.get("also") if isinstance(said, Mapping) else None
    return [name if isinstance(name, str) else shown(name) for name in names] if isinstance(names, list) else []


def _model(name: str, said: Any) -> ModelFacts:
    entry = catalog.from_entry(name, said)
    facts = entry.facts()
    if entry.parameters and facts.anatomy and not _alike(facts.anatomy.parameters, entry.parameters):
        raise catalog.CatalogError(
            f"parameters: there should be {entry.parameters:,}, but config makes {facts.anatomy.parameters:,}; check "
            "that config is the config.json of this very model"
        )
    return facts


def _alike(counted: int, said: int) -> bool:
    return abs(counted - said) <= _SHARE * said


def _accelerator(name: str, said: Any) -> Accelerator:
    return accelerators.from_entry(name, said, base=accelerators.catalog().get(name))


def _not_yaml(error: Exception) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "not valid YAML: " + (printable(str(error), _WORDS_LIMIT) or type(error).__name__)
    mark = error.problem_mark
    return f"not valid YAML: line {mark.line + 1}, column {mark.column + 1}: {error.problem or error.context}"
