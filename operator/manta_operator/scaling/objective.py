"""A factor on the need, moved by what the engines measure against the limits of the target. Pure.

    late     share of the observations since the last look that are above their limit (first token, between tokens)
    margin   x 1.02 a look while late > 1 - objective and enough are ready;  towards 1 by 0.2 % a look otherwise

Only with `target.measured`: histograms know nothing of how long a prompt was, so long prompts would look like slowness.
While replicas are missing, lateness says nothing of how full the others may be, and moves nothing.
"""

from manta_operator.scaling.settings import Target
from manta_operator.scaling.signals import EngineSignals, Histogram, Signals
from manta_operator.scaling.state import State

_UP, _DOWN, _MOST = 1.02, 0.998, 2.0
_ENOUGH = 20
"""Observations below which a share says nothing."""


def adapt(target: Target, state: State, signals: Signals) -> float:
    """Return the margin after this look; between 1 and 2."""
    if not target.measured:
        return 1.0
    replicas = signals.replicas
    limits = [("first_token", target.first_token), ("between_tokens", target.between_tokens)]
    late = any(
        _late(name, limit, state, signals.engines.items()) > 1 - target.objective
        for name, limit in limits
        if limit is not None
    )
    if late and replicas.ready >= replicas.asked:
        return min(_MOST, state.margin * _UP)
    return state.margin if late else max(1.0, state.margin * _DOWN)


def _late(name: str, limit: float, state: State, engines: object) -> float:
    total = within = 0
    pairs: list[tuple[str, EngineSignals]] = list(engines)  # type: ignore[call-overload]
    for engine, seen in pairs:
        now: Histogram | None = getattr(seen, name)
        then = state.engines.get(engine)
        if now is None or then is None:
            continue
        new = now.since(getattr(then, name))
        total += new.total
        within += new.within(limit)
    return 1 - within / total if total >= _ENOUGH else 0.0
