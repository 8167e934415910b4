"""A factor on the need, moved by what the engines measure against the limits of the target. Pure.

    late     share of the observations since the last look that are above their limit (first token, between tokens)
    margin   x (1.02 + 0.08 late) a look while late > 1 - objective and enough are ready;  towards 1 by 0.2 % otherwise
    helps    half as many replicas again have taken a fifth of `late` away; else margin falls as if nothing were late

Only with `target.measured`: histograms know nothing of how long a prompt was, so long prompts would look like
slowness. While replicas are missing, lateness says nothing of how full the others may be, and moves nothing. Some
limits cannot be kept by any number of replicas (no token comes faster than on an idle engine): more that does not help
is given back.
"""

from collections.abc import Mapping
from dataclasses import replace

from manta_operator.scaling.settings import Target
from manta_operator.scaling.signals import EngineSignals, Histogram, Signals
from manta_operator.scaling.state import State

_UP, _UP_LATE, _DOWN, _MOST = 1.02, 0.08, 0.998, 8.0
_MORE, _BETTER = 1.5, 0.8
_ENOUGH = 20
"""Observations below which a share says nothing."""


def adapt(target: Target, state: State, signals: Signals) -> State:
    """Return the state with the margin after this look; between 1 and 8."""
    if not target.measured:
        return replace(state, margin=1.0, late_with=None)
    replicas = signals.replicas
    share = max(
        _late(target.first_token, _pairs("first_token", state, signals.engines)),
        _late(target.between_tokens, _pairs("between_tokens", state, signals.engines)),
    )
    if share <= 1 - target.objective:
        return replace(state, margin=max(1.0, state.margin * _DOWN), late_with=None)
    if replicas.ready < replicas.asked:
        return state
    before, late = state.late_with or (replicas.ready, share)
    if replicas.ready >= _MORE * before:
        if share > _BETTER * late:
            return replace(state, margin=max(1.0, state.margin * _DOWN))
        before, late = replicas.ready, share
    margin = min(_MOST, state.margin * (_UP + _UP_LATE * share))
    return replace(state, margin=margin, late_with=(before, late))


def _pairs(
    name: str, state: State, engines: Mapping[str, EngineSignals]
) -> list[tuple[Histogram | None, Histogram | None]]:
    before = {engine: getattr(seen, name) for engine, (_, seen) in state.engines.items()}
    return [(before[engine], getattr(seen, name)) for engine, seen in engines.items() if engine in before]


def _late(limit: float | None, pairs: list[tuple[Histogram | None, Histogram | None]]) -> float:
    if limit is None:
        return 0.0
    new = [now.since(then) for then, now in pairs if now is not None and then is not None]
    total = sum(each.total for each in new)
    return 1 - sum(each.within(limit) for each in new) / total if total >= _ENOUGH else 0.0
