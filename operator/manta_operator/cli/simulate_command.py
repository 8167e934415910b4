"""`manta simulate`: autoscaling policies on a trace of one's own, in virtual time, before scaling is turned on.

Reads a trace (simulate_trace.py) and what is to be simulated (simulate_case.py), runs the decision function of the
operator and its peers (scaling/simulation), and tells what came of it (simulate_story.py, simulate_plot.py).
"""

import json
import sys
import time
from pathlib import Path

import click

from manta_operator.cli import simulate_plot, simulate_story
from manta_operator.cli.facts import Lookup, options_of_facts
from manta_operator.cli.failures import Refused
from manta_operator.cli.simulate_case import Case, Wish, case
from manta_operator.cli.simulate_meaning import meaning
from manta_operator.cli.simulate_options import ALL, ALL_BEST, DEFAULT_POLICIES, options_of_case, options_of_trace
from manta_operator.cli.simulate_trace import read
from manta_operator.cli.table import GAP, fold, lay_out, terminal_width
from manta_operator.scaling.simulation.compare import OURS, Compared, compare
from manta_operator.scaling.simulation.forms import Parsed
from manta_operator.scaling.simulation.policies.catalogue import NAMES, PLAIN, SWEPT
from manta_operator.scaling.simulation.scene import Scene, make
from manta_operator.scaling.simulation.trace import TraceError


@click.command()
@options_of_trace
@options_of_case
@options_of_facts
@click.option("--png", type=click.Path(path_type=Path), help="Draw demand, replicas and latency into this file.")
@click.option("-o", "--output", type=click.Choice(["table", "wide", "json"]), default="table", show_default=True)
def simulate(
    path: Path,
    names: tuple[str, ...],
    peak: float | None,
    times: float | None,
    past: float,
    seed: int,
    wish: Wish,
    sources: Lookup,
    png: Path | None,
    output: str,
) -> None:
    """Try autoscaling on a trace of your own: the operator's own decisions, and those of others, in virtual time.

    Every policy gets the same requests and the same engines, whose starts take --cold-start seconds. The oracle knows
    the trace beforehand; nobody else does. With -f the deployment of a manifest is simulated, else a model of 8 x 10^9
    parameters on one H100. docs/simulate.md says what is modelled, and what is not.
    """
    _check(path, wish, peak, times, png)
    chosen, began = case(wish, sources), time.monotonic()
    holds: list[float] = []
    try:
        parsed = read(path)
        model, named = chosen.setup.model, "standard input" if str(path) == "-" else path.name
        scene = make(named, parsed.trace, model, peak=peak, times=times or 1.0, past=past, split=True, seed=seed)
        compared = _compare(scene, chosen, names or DEFAULT_POLICIES, holds)
    except TraceError as error:
        raise Refused([f"--trace: {error}"]) from error
    except KeyboardInterrupt:
        sys.exit(130)
    seconds, sentences = time.monotonic() - began, meaning(compared, chosen, holds)
    if png is not None:
        title = f"{scene.name}, cold start {chosen.setup.cold_start:g} s"
        simulate_plot.draw(compared, f"{title}, {chosen.name}" if chosen.name else title, png, chosen.unit)
    if output == "json":
        plain = simulate_story.as_json(compared, chosen, scene, parsed, seconds, sentences)
        click.echo(json.dumps(plain, indent=2))
        return
    _print(compared, chosen, scene, parsed, sentences, wide=output == "wide")
    click.secho(simulate_story.ended(compared, scene, seconds), dim=True)


def _check(path: Path, wish: Wish, peak: float | None, times: float | None, png: Path | None) -> None:
    """Refuse what cannot be meant, before anything is read or simulated. Raises Refused."""
    if peak is not None and times is not None:
        raise Refused(["--peak and --times exclude each other: leave one out"])
    if str(path) == str(wish.file) == "-":
        raise Refused(["--trace and -f cannot both be standard input: give one of them as a file"])
    if png is not None:
        simulate_plot.check(png)


def _compare(scene: Scene, chosen: Case, names: tuple[str, ...], holds: list[float]) -> Compared:
    asked = {*names, OURS, *(PLAIN if ALL in names else ()), *(SWEPT if ALL_BEST in names else ())}
    wanted = [name for name in NAMES if name in asked]
    tells = sys.stderr.isatty()

    def told(name: str) -> None:
        if tells:
            click.echo(f"\r\033[Ksimulating {name} ...", err=True, nl=False)

    try:
        ours = chosen.ours(holds)
        return compare(scene, chosen.setup, chosen.slo, wanted, ours=ours, gpus=chosen.gpus, told=told)
    finally:
        if tells:
            click.echo("\r\033[K", err=True, nl=False)


def _print(compared: Compared, chosen: Case, scene: Scene, parsed: Parsed, sentences: list[str], *, wide: bool) -> None:
    width = terminal_width() if sys.stdout.isatty() else None
    rows = simulate_story.facts(chosen, scene, parsed)
    indent = max(map(len, rows)) + GAP
    for name, text in rows.items():
        first, *more = fold(text, width - indent) if width else [text]
        click.echo(click.style(name.ljust(indent), bold=True) + first)
        for line in more:
            click.echo(" " * indent + line)
    click.echo()
    columns, cells = simulate_story.table(compared, chosen, wide=wide)
    for line in lay_out(columns, cells, width):
        click.echo(line)
    click.echo()
    for sentence in sentences:
        click.echo("\n".join(fold(sentence, width)) if width else sentence)
    for warning in simulate_story.warnings(scene, parsed):
        click.secho("\n".join(fold(warning, width)) if width else warning, fg="yellow")
