"""Our own policy: the very function that the operator runs, with its defaults. Effects: keeps its state."""

from collections.abc import Callable
from dataclasses import replace

from manta_operator.scaling.decide import Decision, decide
from manta_operator.scaling.settings import Behaviour, Estimate, Settings, Target
from manta_operator.scaling.signals import Signals
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.state import State

_CONTEXT = 1024
"""Tokens of a sequence when the decode rate is estimated, before anybody knows the lengths."""


def estimate(model: EngineModel, cold_start: float) -> Estimate:
    """Return what a planner would expect of the model without knowing the traffic: both rates by the roofline."""
    batch = min(model.sequences, model.kv_tokens // _CONTEXT)
    decode = batch / model.step(batch, 0, 0.0, batch * _CONTEXT)
    return Estimate(
        model.speed / model.per_prefill_token, decode, cold_start, model.per_pair / model.speed, model.sequences
    )


class Manta:
    """`settings`: as in the spec. `last`: the last decision, for who wants to know why."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.interval = settings.interval
        self.state = State()
        self.last: Decision | None = None

    def decide(self, signals: Signals) -> int:
        """Return what `decide` says, and remember."""
        self.last, self.state = decide(self.settings, self.state, signals)
        return self.last.replicas


def manta(
    *, error: float = 1.0, hold: float | None = None, predict: bool | None = None, target: Target | None = None
) -> Callable[[Setup], Manta]:
    """Return a maker of the policy.

    Args:
        error: What the planner's estimate is multiplied by: 2 for one that promises twice what is true.
        hold: A fixed window (s) in place of one from hindsight.
        predict: Whether the trend is used; None: as by default.
        target: What is aimed at; None: the default.
    """

    def make(setup: Setup) -> Manta:
        known = estimate(setup.model, setup.cold_start)
        wrong = replace(
            known,
            prefill_tokens_per_s=known.prefill_tokens_per_s * error,
            decode_tokens_per_s=known.decode_tokens_per_s * error,
            pair_seconds=known.pair_seconds / error,
        )
        settings = Settings(wrong, least=setup.least, most=setup.most, behaviour=Behaviour(hold=hold))
        settings = settings if target is None else replace(settings, target=target)
        return Manta(settings if predict is None else replace(settings, predict=predict))

    return make
