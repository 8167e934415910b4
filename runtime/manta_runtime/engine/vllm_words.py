"""What vLLM's own log lines tell: the phase it is in, how long its steps took, and what it has chosen. Pure.

Read from vLLM 0.32, by the words and not by their place: a line that reads otherwise in another version tells nothing,
and a fact that was not seen stays None. journal.py calls `learn` with every line of vLLM until it serves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from manta_runtime.engine.log_lines import Line
    from manta_runtime.engine.phases import Phase

_PHASES: tuple[tuple[str, Phase], ...] = (
    ("Starting to load model", "load"),
    ("Model loading took", "warmup"),
    ("KV cache size:", "warmup"),
    ("Starting torch.compile", "compile"),
    ("Warming up model for the compilation", "compile"),
    ("torch.compile took", "warmup"),
    ("Warming up done", "warmup"),
    ("init engine (", "first-token"),
)
_LISTENS = "Application startup complete"
_DIED = re.compile(
    r"RayWorkerProc rank=\[(?P<ranks>\d{1,4}(?:, \d{1,4}){0,9})\] died unexpectedly"
    r"|Worker proc (?P<name>\S{1,60}) died unexpectedly \(exit code: (?P<code>-?\d+|None)\)"
)
_READ = 8192
"""Characters of a line that are looked at: vLLM's configuration has 4,000, and a line may be 256 KiB of anything."""


@dataclass(frozen=True)
class Facts:
    """What the engine has chosen and measured, as far as it said so: None means that no line told it.

    `seconds`: its own account of its steps, the longest of all ranks. `quantization` is "none" when it said that there
    is none; `quantization_kernels` are those that it said it runs the layers with: a method without any may have left
    the layers as they were. `quantized_layers` is how many a method quantizes while loading: with 0 it is just a name.
    `attention_refused` is a backend that was asked for and not taken. Of several ranks, the one that takes most memory
    counts, and the one that has least for its cache.
    """

    version: str | None = None
    dtype: str | None = None
    max_model_len: int | None = None
    attention_backend: str | None = None
    attention_refused: str | None = None
    quantization: str | None = None
    quantization_kernels: tuple[str, ...] = ()
    quantized_layers: int | None = None
    kv_cache_dtype: str | None = None
    kv_cache_tokens: int | None = None
    kv_cache_gib: float | None = None
    max_concurrency: float | None = None
    model_gib: float | None = None
    graphs_gib: float | None = None
    enforce_eager: bool | None = None
    speculative: str | None = None
    speculative_tokens: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def phase_of(line: Line) -> Phase | None:
    """Return the phase that begins with this line, None for most lines."""
    return next((phase for words, phase in _PHASES if words in line.message), None)


def listens(line: Line) -> bool:
    """Say whether vLLM's HTTP server has just begun to answer."""
    return _LISTENS in line.message


def cause_of(line: Line) -> str:
    """Return which rank vLLM says has died, "" for most lines: of a group it knows who went first."""
    found = _DIED.match(line.message) if line.level == "error" else None
    if not found:
        return ""
    if found["ranks"]:
        return f"RayWorkerProc of vLLM's rank {found['ranks']} ended"
    return f"{found['name']} ended with {found['code']}"


def learn(facts: Facts, line: Line) -> Facts:
    """Return the facts after one more line of vLLM's log; the same object when it told nothing."""
    line = line._replace(message=line.message[:_READ])
    for words, pattern, take in _TELLING:
        if words in line.message and (found := pattern.search(line.message)):
            facts = take(facts, found, line)
    return facts


def facts_json(facts: Facts) -> dict[str, Any]:
    """Return the JSON of GET /facts; docs/observability.md says what each key means."""
    return {
        "version": facts.version,
        "dtype": facts.dtype,
        "maxModelLen": facts.max_model_len,
        "attentionBackend": facts.attention_backend,
        "attentionBackendRefused": facts.attention_refused,
        "quantization": facts.quantization,
        "quantizationKernels": list(facts.quantization_kernels) or None,
        "quantizedLayers": facts.quantized_layers,
        "kvCacheDtype": facts.kv_cache_dtype,
        "kvCacheTokens": facts.kv_cache_tokens,
        "kvCacheGiB": facts.kv_cache_gib,
        "maxConcurrency": facts.max_concurrency,
        "modelGiB": facts.model_gib,
        "graphsGiB": facts.graphs_gib,
        "enforceEager": facts.enforce_eager,
        "speculative": facts.speculative,
        "speculativeTokens": facts.speculative_tokens,
        "seconds": facts.seconds,
    }


def _config(facts: Facts, found: re.Match[str], line: Line) -> Facts:
    # The name of the model may hold anything, also what looks like a setting: what comes first in the line counts less.
    words = line.message[found.end() :]

    def value(name: str) -> str | None:
        every = re.findall(rf"(?:^|, ){name}=([^,()]+?)(?=, |$)", words)
        return every[0] if every else None

    quantization, length, eager = value("quantization"), value("max_seq_len"), value("enforce_eager")
    dtype = value("dtype")
    return replace(
        facts,
        version=found["version"],
        dtype=dtype.removeprefix("torch.") if dtype else facts.dtype,
        max_model_len=int(length) if length and length.isdecimal() else facts.max_model_len,
        quantization=("none" if quantization == "None" else quantization.strip("'")) if quantization else None,
        kv_cache_dtype=value("kv_cache_dtype"),
        enforce_eager={"True": True, "False": False}.get(eager or ""),
        **_speculative(words),
    )


def _speculative(words: str) -> dict[str, Any]:
    if words.startswith("speculative_config=None") or ", speculative_config=None" in words:
        return {"speculative": "none"}
    found = _GUESSES.search(words)
    if not found:
        return {}
    return {"speculative": found["method"], "speculative_tokens": int(found["tokens"])}


def _attention(facts: Facts, found: re.Match[str], line: Line) -> Facts:
    # Other layers choose "backends" in the same words; that of attention is chosen in the file of the platform.
    if not re.match(r"(?:cuda|rocm|xpu|cpu)\.py:", line.logger):
        return facts
    return replace(facts, attention_backend=found["name"].removeprefix("AttentionBackendEnum."))


def _refused(facts: Facts, found: re.Match[str], _: Line) -> Facts:
    return replace(facts, attention_refused=found["name"].removeprefix("AttentionBackendEnum."))


def _kernel(facts: Facts, found: re.Match[str], _: Line) -> Facts:
    every = {*facts.quantization_kernels, f"{found['kernel']} for {found['scheme']}"}
    return replace(facts, quantization_kernels=tuple(sorted(every)))


def _quantized(facts: Facts, found: re.Match[str], _: Line) -> Facts:
    return replace(facts, quantized_layers=max(int(found["layers"]), facts.quantized_layers or 0))


def _kv_tokens(facts: Facts, found: re.Match[str], _: Line) -> Facts:
    many = float(found["many"]) if found["many"] else facts.max_concurrency
    return replace(facts, kv_cache_tokens=int(found["tokens"].replace(",", "")), max_concurrency=many)


def _kv_gib(facts: Facts, found: re.Match[str], _: Line) -> Facts:
    gib = float(found["gib"])
    return replace(facts, kv_cache_gib=gib if facts.kv_cache_gib is None else min(gib, facts.kv_cache_gib))


def _model(facts: Facts, found: re.Match[str], line: Line) -> Facts:
    facts = replace(facts, model_gib=max(float(found["gib"]), facts.model_gib or 0.0))
    return _took("model")(facts, found, line)


def _graphs(facts: Facts, found: re.Match[str], line: Line) -> Facts:
    facts = _took("graphs")(facts, found, line)
    # Below 0 where capturing freed what was in the way: that is no size.
    gib = float(found["gib"]) if found["gib"] else -1.0
    return replace(facts, graphs_gib=max(gib, facts.graphs_gib or 0.0)) if gib >= 0 else facts


def _init(facts: Facts, found: re.Match[str], line: Line) -> Facts:
    facts = _took("init")(facts, found, line)
    compiled = found["compiled"]
    return _keep(facts, "compile", float(compiled)) if compiled else facts


def _took(step: str) -> Callable[[Facts, re.Match[str], Line], Facts]:
    def take(facts: Facts, found: re.Match[str], _: Line) -> Facts:
        return _keep(facts, step, float(found["seconds"]))

    return take


def _keep(facts: Facts, step: str, seconds: float) -> Facts:
    return replace(facts, seconds=facts.seconds | {step: max(seconds, facts.seconds.get(step, 0.0))})


_GUESSES = re.compile(
    r"(?:^|, )speculative_config=SpeculativeConfig\(method='(?P<method>\w+)', "
    r"model=(?:None|'[^']*'|\"[^\"]*\"), num_spec_tokens=(?P<tokens>\d+)\)"
)
_NUMBER = r"\d+(?:\.\d+)?"
_TELLING: tuple[tuple[str, re.Pattern[str], Callable[[Facts, re.Match[str], Line], Facts]], ...] = (
    (
        "LLM engine (v",
        re.compile(r"LLM engine \(v(?P<version>[^)]+)\) with config: model=(?:'[^']*'|\"[^\"]*\"|[^,]*), "),
        _config,
    ),
    (
        " backend",
        re.compile(r"Using (?P<name>[A-Z][A-Za-z0-9_.]*) (?:attention )?backend(?:\.| out of| \(selected)"),
        _attention,
    ),
    ("Cannot use ", re.compile(r"Cannot use (?P<name>[A-Z][A-Za-z0-9_.]*) backend on "), _refused),
    ("Kernel", re.compile(r"(?:Using|Selected) (?P<kernel>\w*Kernel\w*) for (?P<scheme>\w[\w -]*\w)"), _kernel),
    ("Quantizing ", re.compile(r"Quantizing (?P<layers>\d+) layers of types:"), _quantized),
    (
        "KV cache size:",
        re.compile(
            rf"KV cache size: (?P<tokens>\d[\d,]*) tokens(?:, Maximum concurrency [^:]*: (?P<many>{_NUMBER})x)?"
        ),
        _kv_tokens,
    ),
    ("Available KV cache memory", re.compile(rf"Available KV cache memory: (?P<gib>{_NUMBER}) GiB"), _kv_gib),
    # A CPU takes what it is given, or what is left of its share of the machine.
    ("GiB for KV cache", re.compile(rf"(?:Explicitly|Auto) set \((?P<gib>{_NUMBER})/"), _kv_gib),
    (
        "Model loading took",
        re.compile(rf"Model loading took (?P<gib>{_NUMBER}) GiB(?: memory)? and (?P<seconds>{_NUMBER}) sec"),
        _model,
    ),
    ("Loading weights took", re.compile(rf"Loading weights took (?P<seconds>{_NUMBER}) sec"), _took("weights")),
    ("torch.compile took", re.compile(rf"torch\.compile took (?P<seconds>{_NUMBER}) s"), _took("compile")),
    (
        "Graph capturing finished",
        re.compile(rf"finished in (?P<seconds>{_NUMBER}) secs?(?:, took (?P<gib>-?{_NUMBER}) GiB)?"),
        _graphs,
    ),
    (
        "init engine (",
        re.compile(rf"init engine \(.*?\) took (?P<seconds>{_NUMBER}) s(?:.*?compilation: (?P<compiled>{_NUMBER}) s)?"),
        _init,
    ),
)
