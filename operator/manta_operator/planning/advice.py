"""What would fit, where a spec does not: changes of the spec, each of them judged again. Pure.

    one change       a wider split, a KV cache in 8 bits, a shorter context, fewer requests at once, a quantization
                     while loading, another accelerator; in this order
    two changes      where no single one is enough on this accelerator

A change is told only if the spec with it fits for certain. walk.py judges, patches.py applies and says it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import pydantic

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.accelerators import OTHER, Accelerator, catalog
from manta_operator.facts.models import ModelFacts
from manta_operator.planning import context, engine_checks, kernels, quantization
from manta_operator.planning.choice import Choice
from manta_operator.planning.fit import accelerator_of
from manta_operator.planning.memory.engine_version import CURRENT, most_requests, most_tokens
from manta_operator.planning.patches import Patch, in_words, merged, patched
from manta_operator.planning.walk import at_widest, walk

ONLINE = ("fp8_per_channel", "fp8_per_tensor", "fp8_per_block", "nvfp4_per_token")
"""Methods that quantize while loading, to be advised: those that cost least of the quality first."""
_OF_A_KIND = 2
"""Of so many patches of one kind is told: of ten accelerators that would do, two say enough."""
_LARGEST = 3
"""With so many other accelerators a second change is tried."""
_STEPS = ((16384, 1024), (2048, 256), (0, 16))
"""To which multiple a context is rounded down, by the length that is asked for. 16 tokens are a block of the cache."""


@dataclass(frozen=True)
class Advice:
    """A change that makes it fit: in words, as a merge patch of the spec, and what comes of it."""

    text: str
    patch: Patch
    choice: Choice


@dataclass(frozen=True)
class _Case:
    """What is to be changed, and what is known of it."""

    spec: LLMDeploymentSpec
    facts: ModelFacts
    extra: Mapping[str, Accelerator]
    kinds: tuple[Accelerator, ...]


_Change = Callable[[_Case, Patch], Iterator[Patch]]
"""What may be tried beside a change that is made already."""


def advise(
    spec: LLMDeploymentSpec,
    facts: ModelFacts | None,
    accelerators: Iterable[Accelerator] | None = None,
    *,
    extra: Mapping[str, Accelerator] | None = None,
    most: int = 6,
) -> tuple[Advice, ...]:
    """Return changes that make the spec fit, the gentlest first; nothing where the checkpoint cannot be seen.

    Args:
        spec: What does not fit.
        facts: What the checkpoint says.
        accelerators: What may be used instead; None: what the catalog has.
        extra: Accelerators of a user's own, by type.
        most: How many to look for.
    """
    if facts is None:
        return ()
    known = catalog(extra).values() if accelerators is None else accelerators
    case = _Case(spec, facts, extra or {}, tuple(kind for kind in known if not kind.is_cpu and kind.type != OTHER))
    found = _gathered(case, (change(case, {}) for change in _GENTLE), most)
    if not any("type" not in told.patch.get("accelerator", {}) for told in found):
        found += _gathered(case, (_both(case, first, second) for first, second in _PAIRS), most - len(found))
    return found


def _gathered(case: _Case, changes: Iterable[Iterator[Patch]], most: int) -> tuple[Advice, ...]:
    """Return those that fit, of each kind the first ones."""
    found: dict[str, Advice] = {}
    for patches in changes:
        fitting = ((patch, choice) for patch in patches if (choice := _fits(case, patch)) is not None)
        for patch, choice in islice(fitting, _OF_A_KIND):
            told = _told(case, patch, choice)
            found.setdefault(told.text, told)
    return tuple(found.values())[:most]


def _both(case: _Case, first: _Change, second: _Change) -> Iterator[Patch]:
    for patch in first(case, {}):
        yield from (merged(patch, more) for more in second(case, patch))


def _split(case: _Case, before: Patch) -> Iterator[Patch]:
    """Leave the split to the planner, and say what it finds."""
    said, pod = case.spec.parallelism, case.spec.accelerator.per_pod
    if case.spec.accelerator.type == "cpu" or not (said.tensor or said.pipeline or pod):
        return
    free: Patch = {"parallelism": {"tensor": None, "pipeline": None}}
    loose: Patch = {**free, "accelerator": {"perPod": None}, "engine": {"executor": None}}
    for patch in (free, loose) if pod or case.spec.engine.executor != "auto" else (free,):
        choice = _fits(case, merged(before, patch))
        if choice is not None:
            shape = choice.shape
            named: Patch = {"parallelism": {"tensor": shape.tensor, "pipeline": shape.pipeline}}
            yield _without_idle(case.spec, merged(patch, named))
            return


def _without_idle(spec: LLMDeploymentSpec, patch: Patch) -> Patch:
    """Drop what a patch leaves out that is not there, and what it sets that is so already."""
    there = spec.model_dump(by_alias=True, exclude_defaults=True)
    result = {}
    for part, fields in patch.items():
        held = there.get(part, {})
        kept = {
            name: value
            for name, value in fields.items()
            if (name in held if value is None else held.get(name, 1 if name == "pipeline" else None) != value)
        }
        if kept:
            result[part] = kept
    return result


def _whole_experts(case: _Case, before: Patch) -> Iterator[Patch]:
    """Give ranks whole experts, where slices of them are what cannot be."""
    del before
    if case.facts.experts and not case.spec.parallelism.expert:
        yield {"parallelism": {"expert": True}}


def _loosen(case: _Case, before: Patch) -> Iterator[Patch]:
    """Give the KV cache what is left, where the spec fixes its size; take a checkpoint as it is quantized."""
    del before
    if case.facts.quantization and case.spec.engine.quantization != "auto":
        yield {"engine": {"quantization": None}}
    if case.spec.engine.kv_cache_memory is not None:
        yield {"engine": {"kvCacheMemory": None}}


def _cache_type(case: _Case, before: Patch) -> Iterator[Patch]:
    del before
    accelerator = accelerator_of(case.spec, case.extra)
    patch: Patch = {"engine": {"kvCacheDtype": "fp8"}}
    wide = case.spec.engine.kv_cache_dtype in ("auto", "bfloat16", "float16") and case.facts.kv_cache_dtype is None
    if wide and not accelerator.is_cpu and not kernels.notes(patched(case.spec, patch), accelerator):
        yield patch


def _context(case: _Case, before: Patch) -> Iterator[Patch]:
    """Find the longest context that fits, rounded down."""
    asked = context.length(case.spec.engine, case.facts)
    allowed = context.allowed_length(case.spec.engine, case.facts)
    top = min(asked, allowed or asked)
    for floor, step in _STEPS:
        if top < floor:
            continue
        low, high = 0, top // step
        while low < high:  # low fits or is 0, what is above high does not
            middle = (low + high + 1) // 2
            changed = _changed(case, merged(before, {"engine": {"maxModelLen": middle * step}}))
            fits = changed is not None and at_widest(changed[0], case.facts, changed[1]) == "True"
            low, high = (middle, high) if fits else (low, middle - 1)
        if 0 < low * step < asked:
            yield {"engine": {"maxModelLen": low * step}}
            return


def _at_once(case: _Case, before: Patch) -> Iterator[Patch]:
    """Ask for fewer requests at once: those that the cache must hold, and those that are computed."""
    del before
    wanted, engine, on = case.spec.fit.concurrency, case.spec.engine, accelerator_of(case.spec, case.extra)
    if wanted > 1 and (choice := _fits(case, {"fit": {"concurrency": 1}})) is not None:
        fit = choice.fit
        holds = fit.concurrency or (fit.kv_cache_tokens or 0) / (fit.max_model_len or 1)
        if 1 <= holds < wanted:
            yield {"fit": {"concurrency": int(holds)}}
    for number in _halves(engine.max_num_seqs or most_requests(CURRENT, on, 1)):
        yield {"engine": {"maxNumSeqs": number}}
    for number in _halves(engine.max_num_batched_tokens or most_tokens(CURRENT, on, 1, 1)):
        yield {"engine": {"maxNumBatchedTokens": number}}


def _halves(number: int) -> Iterator[int]:
    for shift in (1, 2, 4):
        if number >> shift >= 8:
            yield number >> shift


def _quantize(case: _Case, before: Patch) -> Iterator[Patch]:
    """Quantize while loading, with what the accelerator computes with and the checkpoint allows."""
    if case.facts.quantization or case.spec.engine.quantization not in ("auto", "none"):
        return
    for method in ONLINE:
        patch: Patch = {"engine": {"quantization": method}}
        spec = patched(case.spec, merged(before, patch))
        accelerator = accelerator_of(spec, case.extra)
        if accelerator.is_cpu or accelerator.memory_bytes is None:
            return
        if not quantization.problems(spec, case.facts, accelerator):
            yield patch
            return


def _elsewhere(case: _Case, before: Patch) -> Iterator[Patch]:
    """Take another accelerator: of the same maker, those of the least price, then without one of the least memory.

    Where the split is free the least memory would mean the most accelerators: then those with the most come first.
    """
    if case.spec.parallelism.tensor is None:
        yield from _larger(case, before)
        return
    yield from _instead(case, lambda kind: -1 / kind.per_hour if kind.per_hour else kind.memory_bytes or 0)


def _larger(case: _Case, before: Patch) -> Iterator[Patch]:
    """Take one of those with the most memory, of the same maker if there are any: a second change goes with it."""
    del before
    yield from islice(_instead(case, lambda kind: -(kind.memory_bytes or 0)), _LARGEST)


def _instead(case: _Case, rank: Callable[[Accelerator], float]) -> Iterator[Patch]:
    held, same = case.spec.accelerator, accelerator_of(case.spec, case.extra).resource
    own = {"resource": None, "memory": None} if held.type == OTHER else {}
    for kind in sorted(case.kinds, key=lambda kind: (kind.resource != same, rank(kind))):
        if kind.type != held.type and kind.memory_bytes is not None:
            yield {"accelerator": {"type": kind.type, **own}}


def _fits(case: _Case, patch: Patch) -> Choice | None:
    """Return what comes of a change, None where it does not fit for certain."""
    changed = _changed(case, patch)
    if changed is None or at_widest(changed[0], case.facts, changed[1]) == "False":
        return None
    found = walk(changed[0], case.facts, changed[1])
    return found if isinstance(found, Choice) and found.fit.fits == "True" else None


def _changed(case: _Case, patch: Patch) -> tuple[LLMDeploymentSpec, Accelerator] | None:
    """Return the spec with a change, and its accelerator; None where the API or the engine would not take it."""
    try:
        spec = patched(case.spec, patch)
        accelerator = accelerator_of(spec, case.extra)
    except (KeyError, pydantic.ValidationError):
        return None
    return None if engine_checks.problems(spec, case.facts, accelerator) else (spec, accelerator)


def _told(case: _Case, patch: Patch, choice: Choice) -> Advice:
    kind = patch.get("accelerator", {}).get("type") or case.spec.accelerator.type
    length = choice.fit.max_model_len
    holds = choice.fit.concurrency or (choice.fit.kv_cache_tokens or 0) / (length or 1)
    requests = f", {holds:.1f} requests of {length} tokens" if length else ""
    text = f"{in_words(patch)} ({choice.shape.ranks} x {kind} for each replica{requests})"
    return Advice(text, patch, choice)


_GENTLE: tuple[_Change, ...] = (_split, _whole_experts, _loosen, _cache_type, _context, _at_once, _quantize, _elsewhere)
"""Single changes: what costs neither quality nor other hardware first."""
_PAIRS: tuple[tuple[_Change, _Change], ...] = (
    (_cache_type, _context),
    (_quantize, _context),
    (_cache_type, _split),
    (_quantize, _split),
    (_larger, _split),
    (_larger, _quantize),
    (_larger, _context),
)
"""Two changes, the first of them first."""
