"""One trace made ready: read, scaled to the replicas wanted, with a past before it. Effects: reads the file."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from manta_operator.scaling.simulation import synthetic
from manta_operator.scaling.simulation.trace import Trace, TraceError, copies, parse, rates, with_past

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manta_operator.scaling.simulation.model import EngineModel

_SUFFIXES = ("", ".gz", ".jsonl.gz", ".csv.gz", ".jsonl", ".csv")
_MINUTE = 60.0


@dataclass(frozen=True)
class Scene:
    """`trace` counts from `begin` (s) on. `mean`, `peak`: replicas its work fills, and in the busiest minute."""

    name: str
    trace: Trace
    begin: float
    mean: float
    peak: float
    times: float


def find(name: str, roots: Iterable[Path]) -> Path:
    """Return the file that `name` means: as given or below one of `roots`, its suffix left out or not.

    Raises TraceError when there is none.
    """
    for root in (Path(), *roots):
        for suffix in _SUFFIXES:
            path = root / f"{name}{suffix}"
            if path.is_file():
                return path
    raise TraceError(
        f"no trace at {name}: give a file of Azure's form (CSV with TIMESTAMP, ContextTokens, GeneratedTokens) or of "
        "Mooncake's (JSON lines with timestamp, input_length, output_length), gzipped or not (TRACE=path/to/trace)"
    )


def read(path: Path) -> Trace:
    """Read a trace. Raises TraceError."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as lines:
            return parse(lines, path.name)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise TraceError(f"{path} cannot be read: {error}") from error


def made_up(kind: str, model: EngineModel, *, peak: float, seed: int, seconds: float = 7200.0) -> Trace:
    """Return a synthetic trace of about the size that `make` makes of it: copies are not as random as arrivals."""
    some = synthetic.make(kind, rate=1.0, seconds=seconds, seed=seed)
    work = sum(model.work(request) for request in some) / len(some)
    return synthetic.make(kind, rate=peak / work, seconds=seconds, seed=seed)


def make(name: str, trace: Trace, model: EngineModel, *, peak: float, past: float, seed: int) -> Scene:
    """Scale a trace so that its busiest minute fills `peak` replicas, and put `past` seconds before it."""
    trace = tuple(request for request in trace if model.fits(request))
    if not trace:
        raise TraceError(f"{name}: no request fits in the {model.kv_tokens} tokens of an engine's cache")
    load = rates(trace, model.work, _MINUTE, trace[-1].at)
    times = peak / max(load)
    scaled = copies(trace, times, seed)
    whole, begin = with_past(scaled, past)
    return Scene(name, whole, begin, sum(load) / len(load) * times, peak, times)
