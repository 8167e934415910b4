"""The options of `manta simulate`; what they mean together says simulate_case.py."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from manta_operator.cli.simulate_case import COLD_START, LEAST, MOST, Wish, parse_rates
from manta_operator.scaling.simulation.compare import OURS
from manta_operator.scaling.simulation.policies.catalogue import NAMES, PLAIN, SWEEP, SWEPT

DEFAULT_POLICIES = (OURS, "hpa-concurrency", "hpa-concurrency-best", "fixed-peak")
ALL, ALL_BEST = "all", "all-best"
PAST = 1800.0
_TRACE = (
    "Requests: CSV (Azure's, or seconds,prompt_tokens,output_tokens), JSON lines (Mooncake's, or the router's access "
    "log), gzipped or not; - is standard input."
)


class _Number(click.FloatRange):
    """A finite float in a range. Click's own lets NaN pass, which is neither below nor above anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it; click tells where it stands if it cannot be."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number that can be meant", param, ctx)
        return number


class _Rates(click.ParamType[tuple[float, float]]):
    """PREFILL,DECODE: two numbers."""

    name = "PREFILL,DECODE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Read it; click tells where it stands if it cannot be."""
        try:
            return parse_rates(value)
        except ValueError:
            self.fail(f"{value!r}: write two numbers, tokens a second from 1 on, such as 12000,2500", param, ctx)


_positive = _Number(0, min_open=True)


def options_of_trace(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command what it simulates: the trace, how large it is made, and the policies."""
    past = "Seconds of its beginning, at most half of it, that policies see and that are not counted."
    names = (
        f"Compare with this one; may be repeated: {', '.join(PLAIN)}; or {ALL}. With -best: the target is the best of "
        f"{len(SWEEP)} on these very requests ({', '.join(SWEPT)}; or {ALL_BEST}). "
        f"Default: {', '.join(DEFAULT_POLICIES)}."
    )
    for option in (
        click.option("--seed", type=int, default=1, show_default=True, help="Of chance in repeating the trace."),
        click.option("--past", type=_Number(0, 86_400), default=PAST, show_default=True, help=past),
        click.option("--times", type=_positive, help="Take each request so many times; 0.1: a tenth of them."),
        click.option("--peak", type=_positive, help="Repeat it until its busiest minute fills so many replicas."),
        click.option(
            "--policy", "names", multiple=True, type=click.Choice([*NAMES, ALL, ALL_BEST]), metavar="NAME", help=names
        ),
        click.option("--trace", "path", type=click.Path(path_type=Path), required=True, metavar="FILE", help=_TRACE),
    ):
        command = option(command)
    return command


def options_of_case(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command what is simulated and, in place of all these options, the argument `wish`."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        fields = {name: kwargs.pop(name) for name in Wish.__dataclass_fields__}
        return command(*args, wish=Wish(**fields), **kwargs)

    found: Callable[..., Any] = wrapped
    for option in (_hour, _between, _first, _speed, _rates, _start, _most, _least, _file):
        found = option(found)
    return found


_file = click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path),
    help="Manifest with the LLMDeployment: its bounds, target, behaviour, model and accelerator; - is standard input.",
)
_least = click.option(
    "--min", "least", type=click.IntRange(0, 1000), help=f"Fewest replicas. Default: minReplicas, else {LEAST}."
)
_most = click.option(
    "--max", "most", type=click.IntRange(1, 1000), help=f"Most replicas. Default: maxReplicas, else {MOST}."
)
_start = click.option(
    "--cold-start",
    type=_Number(0, 86_400),
    default=COLD_START,
    show_default=True,
    help="Seconds from asking for a replica to its being ready.",
)
_rates = click.option(
    "--engine-estimate",
    "rates",
    type=_Rates(),
    help="Tokens of prompts, and of answers, that a full engine does in a second, as measured. Default: as planned.",
)
_speed = click.option(
    "--speed",
    type=_Number(0.01, 100),
    default=1.0,
    show_default=True,
    help="How much of its estimate the engine really does: 0.7 is a third less than the autoscaler is told.",
)
_first = click.option(
    "--first-token",
    type=_positive,
    help="Seconds that a first token may take. Default: target.firstTokenMilliseconds, else 5.",
)
_between = click.option(
    "--between-tokens",
    type=_positive,
    help="Seconds that the next token may take. Default: target.betweenTokensMilliseconds, else 0.1.",
)
_hour = click.option(
    "--per-hour",
    type=_Number(0),
    help="Price of one accelerator for an hour. Default: that of the catalog.",
)
