"""`make bench-autoscaler`: every policy on traces and cold starts; tables, pictures, build/bench/autoscaler.json."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from autoscaler.report import markdown, table, verdict
from manta_operator.cli.failures import Refused
from manta_operator.cli.simulate_plot import draw
from manta_operator.cli.simulate_trace import SUFFIXES, read
from manta_operator.scaling.simulation import synthetic
from manta_operator.scaling.simulation.compare import OURS, UNLEARNED, Compared, compare
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.outcome import Slo
from manta_operator.scaling.simulation.policies import present
from manta_operator.scaling.simulation.policies.catalogue import NAMES
from manta_operator.scaling.simulation.policies.manta import manta
from manta_operator.scaling.simulation.scene import Scene, made_up, make
from manta_operator.scaling.simulation.trace import TraceError

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
DEFAULT_TRACES = ("azure_llm_2023_code", "mooncake_synthetic")


@click.command()
@click.option("--trace", "traces", multiple=True, help="Azure's or Mooncake's form; again for more. Default: both.")
@click.option("--synthetic", "kinds", multiple=True, type=click.Choice(list(synthetic.SHAPES)), help="Made up instead.")
@click.option("--cold-start", "starts", multiple=True, type=click.FloatRange(0), default=(30.0, 120.0, 600.0))
@click.option("--policy", "names", multiple=True, type=click.Choice([*NAMES, UNLEARNED]), help="Only these, and manta.")
@click.option("--peak", type=click.FloatRange(0.1), default=24.0, show_default=True, help="Replicas, busiest minute.")
@click.option("--max-replicas", "most", type=click.IntRange(1), default=40, show_default=True)
@click.option("--speed", type=click.FloatRange(0.01), default=0.25, show_default=True, help="Of the engine.")
@click.option("--step-tokens", type=click.IntRange(64), default=2048, show_default=True, help="Of the engine's steps.")
@click.option("--past", type=click.FloatRange(0), default=1800.0, show_default=True, help="Seconds of shuffled past.")
@click.option("--split", is_flag=True, help="The trace's own beginning for a past, half of it at most; judge the rest.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--plots/--no-plots", default=True, show_default=True)
@click.option(
    "--estimate", "wrong", multiple=True, type=click.FloatRange(0.01), help="Also ours, so wrongly estimated."
)
@click.option("--present", is_flag=True, help="Also the best window that knows the present exactly, and no future.")
@click.option("--markdown", "marked", is_flag=True, help="Also print the table of docs/benchmarks.md.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "build" / "bench" / "autoscaler.json")
def main(**options: Any) -> None:
    """Simulate a deployment behind every autoscaling policy, on the same requests."""
    began, model = time.monotonic(), EngineModel(speed=options["speed"], step_tokens=options["step_tokens"])
    names = [name for name in (*NAMES, UNLEARNED) if not options["names"] or name in (*options["names"], OURS)]
    wrong = {f"{OURS}-estimate-{times:g}": manta(error=times) for times in options["wrong"]}
    options["out"].parent.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {}
    meta: dict[str, Any] = {"slo": vars(Slo()), "seed": options["seed"], "speed": options["speed"], "traces": {}}
    try:
        for scene in _scenes(options, model):
            click.echo(_headline(scene))
            meta["traces"][scene.name] = _meta(scene, split=options["split"])
            for start in options["starts"]:
                setup = Setup(model, cold_start=start, most=options["most"])
                compared = compare(scene, setup, Slo(), names, more=wrong)
                document.setdefault(scene.name, {})[f"{start:g}"] = dict(compared.rows)
                _tell(scene, start, compared, options)
                if options["present"]:
                    click.echo(_without_future(scene, setup, compared))
    except TraceError as error:
        raise Refused([str(error)]) from error
    if options["marked"]:
        click.echo(markdown(document))
    meta["seconds"] = round(time.monotonic() - began, 1)
    options["out"].write_text(json.dumps(document | {"meta": meta}, indent=2) + "\n")
    click.echo(f"{meta['seconds']:.0f} s; {options['out']}")


def _scenes(options: dict[str, Any], model: EngineModel) -> list[Scene]:
    found = {
        f"synthetic-{kind}": made_up(kind, model, peak=options["peak"], seed=options["seed"])
        for kind in options["kinds"]
    }
    if not found:
        for name in options["traces"] or DEFAULT_TRACES:
            path = _find(name)
            found[path.name.split(".")[0]] = read(path).trace
    return [
        make(
            name, trace, model, peak=options["peak"], past=options["past"], split=options["split"], seed=options["seed"]
        )
        for name, trace in found.items()
    ]


def _find(name: str) -> Path:
    """Return the file that `name` means: as given, or below one of the usual folders, its suffix left out or not."""
    every = (root / f"{name}{suffix}" for root in (Path(), ROOT, DATA) for suffix in SUFFIXES)
    return next((path for path in every if path.is_file()), Path(name))


def _headline(scene: Scene) -> str:
    return (
        f"{scene.name}: {len(scene.trace)} requests ({scene.times:.1f} x the trace), {scene.seconds / 60:.0f} minutes "
        f"after {scene.begin / 60:.0f} of past; fills {scene.mean:.1f} replicas on average, "
        f"{scene.peak:.1f} in a minute"
    )


def _meta(scene: Scene, *, split: bool) -> dict[str, Any]:
    return {
        "requests": len(scene.trace),
        "times": round(scene.times, 3),
        "past": "its own beginning" if split else "its minutes, shuffled",
        "past_s": round(scene.begin, 1),
        "mean_replicas": round(scene.mean, 2),
        "peak_replicas": round(scene.peak, 2),
    }


def _tell(scene: Scene, start: float, compared: Compared, options: dict[str, Any]) -> None:
    title = f"{scene.name}, cold start {start:g} s"
    console = Console(width=140)
    console.print(table(compared.rows, title))
    click.echo(verdict(compared.rows, start))
    click.echo(f"no policy can do with less than {compared.bound:.2f} GPU-hours (a bound; the oracle's were played)")
    if options["plots"]:
        draw(compared, title, options["out"].parent / f"autoscaler-{scene.name}-{start:g}s.png")


def _without_future(scene: Scene, setup: Setup, compared: Compared) -> str:
    found = present.best(scene.trace, setup, Slo(), scene.begin)
    if found is None:
        return f"without the future no window keeps {Slo().objective:.0%} in time"
    share = found.hours / compared.rows["oracle"]["gpu_hours"]
    kept = found.outcome.attainment(Slo(), setup.model)
    return (
        f"without the future, with the best window ({found.hold:.0f} s): {kept:.2%} in time at {share:.2f} x the oracle"
    )


if __name__ == "__main__":
    main()
