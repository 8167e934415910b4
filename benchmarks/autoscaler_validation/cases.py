"""What is compared in virtual time: an hour of requests, at fixed and changing numbers of replicas. Reads files.

steady      the trace on as many replicas as its busiest minute fills
tight       on half of them: queues, and a backlog that lasts for minutes
scaled      the operator's own decisions, which see what their engines say
full cache  long answers on a small cache: in the engine simulator's scheduler they push each other out of it
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from manta_operator.cli.simulate_trace import read
from manta_operator.scaling.simulation import synthetic
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.policies.fixed import fixed
from manta_operator.scaling.simulation.policies.manta import manta
from manta_operator.scaling.simulation.scene import Scene, make

if TYPE_CHECKING:
    from pathlib import Path

    from manta_operator.scaling.simulation.run import Make
    from manta_operator.scaling.simulation.trace import Trace

MODEL = EngineModel(speed=0.25, step_tokens=2048, per_pair=0.0)
"""As in bench-autoscaler, but for the pairs of tokens, which the engine simulator does not charge."""
PEAK = 4.0
_SMALL_CACHE = 24_000
_HOUR = 3600.0


@dataclass(frozen=True)
class Case:
    """The requests, the engines, and who decides how many of them there are."""

    name: str
    scene: Scene
    setup: Setup
    policy: Make


def cases(paths: list[Path], seed: int) -> list[Case]:
    """Return what is compared, for each trace and for one that is made up."""
    found: list[Case] = []
    setup = Setup(MODEL, cold_start=60.0, initial=2, most=12)
    for path in paths:
        name = path.name.split(".")[0]
        scene = make(name, read(path).trace, MODEL, peak=PEAK, seed=seed)
        found += [
            Case(f"{name}, steady", scene, replace(setup, initial=4), fixed(4)),
            Case(f"{name}, tight", scene, setup, fixed(2)),
            Case(f"{name}, scaled", scene, setup, manta()),
        ]
    small = replace(MODEL, kv_tokens=_SMALL_CACHE)
    for kind, name, policy in (("diurnal", "steady", fixed(4)), ("bursts", "scaled", manta())):
        rate = PEAK / sum(small.work(each) for each in _long(kind, 1.0, seed)) * len(_long(kind, 1.0, seed))
        scene = make(kind, _long(kind, rate, seed), small)
        found.append(Case(f"full cache, {name}", scene, replace(setup, model=small, initial=4), policy))
    return found


def _long(kind: str, rate: float, seed: int) -> Trace:
    return synthetic.make(kind, rate=rate, seconds=_HOUR, seed=seed, prompt=600, output=500)
