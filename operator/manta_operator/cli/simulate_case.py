"""What `manta simulate` simulates: engine, bounds, target and behaviour, from a manifest or from the options.

Effects: reads the manifest, and looks for the facts of its model as `plan` does. With a manifest the autoscaler is told
exactly what the operator would tell it (planning/autoscale.py); the engine that it meets is the planner's estimate, or
what the options say of it. Where both differ one sees what a wrong estimate costs.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from manta_operator.api.autoscaling import AutoscalingSpec
from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.cli.facts import Lookup
from manta_operator.cli.failures import Refused
from manta_operator.cli.manifests import Planned, plan_files
from manta_operator.planning import autoscale, simulated
from manta_operator.planning.roofline import HIGH, LOW, Performance
from manta_operator.scaling.settings import LOOK_SECONDS, Settings, SettingsError, Target
from manta_operator.scaling.signals import Signals
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.outcome import Slo
from manta_operator.scaling.simulation.policies.manta import Manta, estimate
from manta_operator.scaling.simulation.run import Make

LEAST, MOST = 1, 40
COLD_START = autoscale.COLD_START_SECONDS
_FASTEST = 1e8
_ESTIMATED = (
    f"the planner's estimate (docs/performance.md; it may do {LOW:g} to {HIGH:g} times as much: --speed tries that)"
)
_DEFAULT = "8 x 10^9 parameters in 16 bits on one H100, computed; -f takes your model and accelerator"


@dataclass(frozen=True)
class Wish:
    """The options; None: not given. Times in seconds, `rates`: tokens of prompts and of answers a second."""

    file: Path | None = None
    least: int | None = None
    most: int | None = None
    cold_start: float = COLD_START
    rates: tuple[float, float] | None = None
    speed: float = 1.0
    first_token: float | None = None
    between_tokens: float | None = None
    per_hour: float | None = None


@dataclass(frozen=True)
class Case:
    """What is simulated, and `told`: where its engine comes from. `unit`: what is counted by the hour.

    `planned`: what `manta plan` says of the same engine, where that is what is simulated.
    """

    setup: Setup
    slo: Slo
    settings: Settings
    gpus: int
    per_hour: float | None
    told: str
    planned: Performance | None = None
    name: str = ""
    unit: str = "GPU"

    def ours(self, holds: list[float]) -> Make:
        """Return a maker of our own policy, which is told what the operator would be; `holds` gets its windows (s)."""
        return lambda _: _Watched(self.settings, holds)


class _Watched(Manta):
    """Our own policy, whose stabilisation windows are written down."""

    def __init__(self, settings: Settings, holds: list[float]) -> None:
        super().__init__(settings)
        self._holds = holds

    def decide(self, signals: Signals) -> int:
        replicas = super().decide(signals)
        hold = self.last.numbers["hold"] if self.last else 0.0
        if hold and (not self._holds or self._holds[-1] != hold):
            self._holds.append(hold)
        return replicas


def case(wish: Wish, sources: Lookup) -> Case:
    """Return what the options mean. Raises Refused."""
    try:
        return _of_options(wish) if wish.file is None else _of_file(wish, _planned(wish.file, sources))
    except SettingsError as error:
        raise Refused([f"--min, --max: {error}"]) from error


def parse_rates(text: str) -> tuple[float, float]:
    """Read PREFILL,DECODE. Raises ValueError."""
    prefill, decode = (float(part) for part in text.split(","))
    if not (1 <= prefill <= _FASTEST and 1 <= decode <= _FASTEST):
        raise ValueError(text)
    return prefill, decode


def with_rates(model: EngineModel, rates: tuple[float, float]) -> EngineModel:
    """Return an engine that does so much when it is full: the terms of prompts and those of answers, each scaled."""
    known = estimate(model, COLD_START)
    prompts, answers = known.prefill_tokens_per_s / rates[0], known.decode_tokens_per_s / rates[1]
    return replace(
        model,
        fixed=model.fixed * answers,
        per_sequence=model.per_sequence * answers,
        per_context_token=model.per_context_token * answers,
        per_prefill_token=model.per_prefill_token * prompts,
        per_pair=model.per_pair * prompts,
    )


def _of_options(wish: Wish) -> Case:
    model, told = EngineModel(), _DEFAULT
    if wish.rates:
        model, told = with_rates(model, wish.rates), _said(wish.rates)
    slo = _slo(wish, Slo())
    settings = Settings(
        estimate(model, wish.cold_start),
        least=LEAST if wish.least is None else wish.least,
        most=MOST if wish.most is None else wish.most,
        interval=LOOK_SECONDS,
        target=Target(first_token=slo.base),
    )
    return _case(wish, model, settings, slo, told)


def _of_file(wish: Wish, planned: Planned) -> Case:
    deployment, plan = planned.deployment, planned.desired.plan
    spec = deployment.spec
    bounds: dict[str, int] = {
        name: value for name, value in (("minReplicas", wish.least), ("maxReplicas", wish.most)) if value is not None
    }
    asked = AutoscalingSpec.model_validate(_autoscaling(spec) | bounds)
    spec = spec.model_copy(update={"autoscaling": asked})
    on = plan.accelerator
    model = simulated.engine(spec, plan.shape, on, planned.facts, plan.fit) if on else None
    told = _ESTIMATED
    if wish.rates:
        model, told = with_rates(model or EngineModel(), wish.rates), _said(wish.rates)
    if model is None or on is None:
        raise Refused([f"{wish.file}: {deployment.name}: {_unknown(planned)}"])
    target = asked.target
    between = target.between_tokens_milliseconds
    limits = Slo(target.first_token_milliseconds / 1000, between=Slo.between if between is None else between / 1000)
    settings = autoscale.settings(spec, plan.performance, wish.cold_start, LOOK_SECONDS)
    slo = _slo(wish, replace(limits, objective=target.objective_percent / 100))
    found = _case(wish, model, settings, slo, told)
    return replace(
        found,
        setup=replace(found.setup, drain=float(spec.rollout.drain_seconds)),
        planned=None if wish.rates or wish.speed != 1 else plan.performance,
        gpus=plan.shape.ranks,
        per_hour=on.per_hour if wish.per_hour is None else wish.per_hour,
        name=f"{deployment.name}: {spec.model.uri} on {plan.shape.ranks} x {on.type}",
        unit="replica" if on.is_cpu else "GPU",
    )


def _case(wish: Wish, model: EngineModel, settings: Settings, slo: Slo, told: str) -> Case:
    if wish.speed != 1:
        told = f"{told}, times {wish.speed:g}"
    setup = Setup(replace(model, speed=wish.speed), wish.cold_start, most=settings.most, least=settings.least)
    return Case(setup, slo, settings, 1, wish.per_hour, told)


def _slo(wish: Wish, slo: Slo) -> Slo:
    given = {"base": wish.first_token, "between": wish.between_tokens}
    return replace(slo, **{name: value for name, value in given.items() if value is not None})


def _autoscaling(spec: LLMDeploymentSpec) -> dict[str, object]:
    """Return `spec.autoscaling`; where there is none yet, what it would be by default."""
    if spec.autoscaling is not None:
        return spec.autoscaling.model_dump(by_alias=True)
    return {"minReplicas": LEAST, "maxReplicas": MOST}


def _planned(path: Path, sources: Lookup) -> Planned:
    """Return the one LLMDeployment that is meant: of several the one with `spec.autoscaling`."""
    every = plan_files([path], sources)
    chosen = [each for each in every if each.deployment.spec.autoscaling] if len(every) > 1 else every
    if len(chosen) != 1:
        names = ", ".join(each.deployment.name for each in every) or "none"
        raise Refused([f"{path}: one LLMDeployment is simulated, and the file has {names}: give a file with one"])
    return chosen[0]


def _said(rates: tuple[float, float]) -> str:
    return f"as --engine-estimate={rates[0]:g},{rates[1]:g} says"


def _unknown(planned: Planned) -> str:
    spec, on = planned.deployment.spec, planned.desired.plan.accelerator
    if on is not None and on.is_cpu:
        what = "nothing is estimated of a CPU"
    elif planned.facts is None:
        what = f"nothing is known of the model ({planned.known.why or 'its checkpoint cannot be seen from here'}); "
        local = spec.model.uri.startswith("file://")
        what += (
            "say where its folder is with --map=NODE_PATH=FOLDER"
            if local
            else "--online asks the hub, --catalog takes an entry of yours"
        )
    else:
        what = f"the speed of {spec.accelerator.type} is not known"
    return (
        f"how fast a replica is cannot be estimated: {what}; otherwise say it with --engine-estimate=PREFILL,DECODE, "
        "the tokens of prompts and of answers that a full engine does in a second, such as 12000,2500"
    )
