"""The weights that guess (spec.engine.speculative.model): where they stand in the engine's pod. Pure.

They are resolved like the model itself: fetched into the same cache by an init container of their own, or mounted.
"""

from collections.abc import Iterable
from typing import Any

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.builders.model_source import ModelSource, Place, weights_source

DRAFT = Place(volume="draft", path="/mnt/draft", folder="models")


def draft_source(spec: LLMDeploymentSpec) -> ModelSource | None:
    """Return where the weights that guess are; None where nothing guesses, or without weights of its own."""
    speculative = spec.engine.speculative
    if speculative is None or speculative.model is None:
        return None
    return weights_source(speculative.model, spec, DRAFT)


def once(entries: Iterable[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return the first with each value of `key`: model and draft share a cache."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        found.setdefault(entry[key], entry)
    return list(found.values())
