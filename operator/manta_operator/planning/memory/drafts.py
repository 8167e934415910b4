"""The model that guesses tokens: which checkpoint it is, and what its layers keep. Pure; fit.py and kv_of.py ask.

vLLM loads it beside the model, cut over the same tensor ranks, and its layers have a KV cache of their own
(config/speculative.py, v1/spec_decode). It is known by its name alone, from the catalog of models.
"""

from manta_operator.api.models import EngineSpec
from manta_operator.facts import catalog
from manta_operator.facts.caches.layers import Cache
from manta_operator.facts.models import ModelFacts

_WHOLE = "draft_model"
"""The method that guesses with a whole model; the heads of the others keep a cache like one more layer."""


def uri(engine: EngineSpec) -> str | None:
    """Return which checkpoint guesses; None where none does, or the model itself."""
    return None if engine.speculative is None or engine.speculative.model is None else engine.speculative.model.uri


def known(engine: EngineSpec) -> ModelFacts | None:
    """Return the facts of what guesses; None where there is none, or nobody knows it."""
    named = uri(engine)
    return None if named is None else catalog.known(named)


def uncounted(engine: EngineSpec) -> str | None:
    """Return why a draft is not counted; None where there is none, or it is."""
    draft, named = known(engine), uri(engine)
    if named is None:
        return None
    if draft is None:
        return f"not counted: the weights and the KV cache of {named}, which the catalog does not have"
    return f"not counted: the KV cache of {named}: {draft.unmodelled}" if draft.unmodelled else None


def caches(engine: EngineSpec) -> tuple[Cache, ...]:
    """Return what the layers of a whole model that guesses keep."""
    draft = known(engine)
    if draft is None or engine.speculative is None or engine.speculative.method != _WHOLE:
        return ()
    one = Cache("full", draft.kv_heads, draft.head_dim, draft.head_dim)
    return draft.caches or (one,) * draft.layers
