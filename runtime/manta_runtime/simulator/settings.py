"""What the simulator was told: vLLM's own flags, as far as they matter here, and a few of its own. Parsed once."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from manta_runtime.engine.vllm_flags import find_flag, has_flag
from manta_runtime.simulator.latency import LatencyModel
from manta_runtime.simulator.scheduler import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OWN_FLAGS = {
    "--simulate-startup-seconds": "0",
    "--simulate-speed": "1",
    "--simulate-kv-cache-tokens": "400000",
    "--simulate-answer-tokens": "128",
    "--simulate-journal": "",
}
"""The simulator's own flags and their defaults; 400,000 tokens are what an 8B model leaves of 80 GB."""

_LAST_PORT = 65535


class SettingsError(ValueError):
    """A flag cannot be used; the message names it and what would do."""


@dataclass(frozen=True)
class Settings:
    """Durations in seconds. `journal`: a file that gets one line for every request begun; None for none.

    `adapters`: name and path of each; with `runtime_adapters` they can be loaded and unloaded, up to `max_lora_rank`
    (0: no adapters). `pooling`: embeddings in place of answers. `force_usage`: streams carry usage
    whether asked for or not. `prompt_details`: usage says what of a prompt was cached. `most_requests`: of these,
    running and waiting, one more is refused.
    """

    model: str
    served_names: tuple[str, ...]
    host: str
    port: int
    max_model_len: int
    shutdown_timeout: float
    startup_seconds: float
    answer_tokens: int
    seed: int
    journal: Path | None
    adapters: tuple[tuple[str, str], ...] = ()
    runtime_adapters: bool = False
    max_lora_rank: int = 0
    pooling: bool = False
    force_usage: bool = False
    prompt_details: bool = False
    most_requests: int | None = None
    api_key: str = field(default="", repr=False)
    limits: Limits = field(default_factory=Limits)
    latency: LatencyModel = field(default_factory=LatencyModel)


def parse(flags: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Read the flags; unknown ones are ignored, as most of vLLM's mean nothing here. Raises SettingsError."""
    model = find_flag(flags, "--model")
    if not model:
        raise SettingsError("no --model: the simulator wants the flags vLLM would get, e.g. --model=/models/tiny")
    unknown = [flag for flag in flags if flag.startswith("--simulate-") and flag.partition("=")[0] not in OWN_FLAGS]
    if unknown:
        raise SettingsError(f"{unknown[0]} is not one of the simulator's flags: {', '.join(OWN_FLAGS)}")
    journal = _own(flags, "--simulate-journal")
    settings = Settings(
        model=model,
        served_names=_served_names(flags) or (model,),
        host=find_flag(flags, "--host") or "127.0.0.1",
        port=_port(flags),
        max_model_len=int(_number(flags, "--max-model-len", 8192)),
        shutdown_timeout=_number(flags, "--shutdown-timeout", 0),
        startup_seconds=_number(flags, "--simulate-startup-seconds"),
        answer_tokens=int(_number(flags, "--simulate-answer-tokens")),
        seed=int(_number(flags, "--seed", 0)),
        journal=Path(journal) if journal else None,
        adapters=_adapters(flags),
        runtime_adapters=environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "").strip().lower() in ("1", "true"),
        max_lora_rank=int(_number(flags, "--max-lora-rank", 16)) if has_flag(flags, "--enable-lora") else 0,
        pooling=find_flag(flags, "--runner") == "pooling",
        force_usage=has_flag(flags, "--enable-force-include-usage"),
        prompt_details=has_flag(flags, "--enable-prompt-tokens-details"),
        most_requests=int(_number(flags, "--max-num-queued-reqs")) if _has(flags, "--max-num-queued-reqs") else None,
        api_key=find_flag(flags, "--api-key") or environ.get("VLLM_API_KEY", ""),
        limits=_limits(flags),
        latency=LatencyModel(speed=max(1e-3, _number(flags, "--simulate-speed"))),
    )
    if settings.limits.blocks * settings.limits.block_size < settings.max_model_len:
        raise SettingsError(
            f"--simulate-kv-cache-tokens holds less than one request of --max-model-len={settings.max_model_len}: "
            "vLLM would not start either; make one larger or the other smaller"
        )
    return settings


def _limits(flags: Sequence[str]) -> Limits:
    size = max(1, int(_number(flags, "--block-size", 16)))
    return Limits(
        sequences=max(1, int(_number(flags, "--max-num-seqs", 256))),
        step_tokens=max(1, int(_number(flags, "--max-num-batched-tokens", 8192))),
        block_size=size,
        blocks=int(_number(flags, "--simulate-kv-cache-tokens")) // size,
        prefix_caching=not has_flag(flags, "--no-enable-prefix-caching"),
    )


def _served_names(flags: Sequence[str]) -> tuple[str, ...]:
    """`--served-model-name a b`, or `--served-model-name=a`."""
    return _several(flags, "--served-model-name")


def _adapters(flags: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """`--lora-modules name=path {"name": ..., "path": ...}`. Raises SettingsError."""
    found: list[tuple[str, str]] = []
    for word in _several(flags, "--lora-modules"):
        try:
            fields = json.loads(word) if word.startswith("{") else dict([word.split("=", 1)])
            found += [(str(fields["name"]), str(fields["path"]))] if word.startswith("{") else fields.items()
        except (ValueError, KeyError) as error:
            raise SettingsError(f"--lora-modules: {word!r} is neither name=path nor JSON with both") from error
    return tuple(found)


def _several(flags: Sequence[str], name: str) -> tuple[str, ...]:
    for position, flag in enumerate(flags):
        if flag.startswith(f"{name}="):
            return (flag.partition("=")[2],)
        if flag == name:
            rest = flags[position + 1 :]
            end = next((index for index, word in enumerate(rest) if word.startswith("--")), len(rest))
            return tuple(rest[:end])
    return ()


def _has(flags: Sequence[str], name: str) -> bool:
    return find_flag(flags, name) is not None


def _own(flags: Sequence[str], name: str) -> str:
    return find_flag(flags, name) or OWN_FLAGS[name]


def _port(flags: Sequence[str]) -> int:
    text = find_flag(flags, "--port") or "8000"
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= _LAST_PORT):
        raise SettingsError(f"--port={text} is no port: give a whole number from 1 to {_LAST_PORT}")
    return int(text)


def _number(flags: Sequence[str], name: str, default: float | None = None) -> float:
    text = find_flag(flags, name) or (OWN_FLAGS[name] if default is None else str(default))
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SettingsError(f"{name}={text} is not a number")
    if number < 0:
        raise SettingsError(f"{name}={text} is negative")
    return number
