"""`make bench-autoscaler-validation`: how far the autoscaler's simulator is from other engines.

In virtual time beside the engine simulator's own scheduler (reference.py); with --http beside its processes, asked over
HTTP (over_http.py); with --vllm beside real vLLM on this CPU (on_cpu.py). It writes
build/bench/autoscaler-validation.json; what is left out says docs/benchmarks.md.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from autoscaler_validation import on_cpu, over_http, slower
from autoscaler_validation.cases import Case, cases
from autoscaler_validation.law import exactly
from autoscaler_validation.measured import Measured, apart, of
from autoscaler_validation.reference import Reference
from autoscaler_validation.report import fits, levels, table
from manta_operator.scaling.simulation.outcome import Slo
from manta_operator.scaling.simulation.run import run

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
TRACES = ("azure_llm_2023_code.csv.gz", "mooncake_synthetic.jsonl.gz")
_STEADY = 1.5
"""Changes of the machine's own speed beyond this make runs on vLLM worthless."""
OUT = ROOT / "build" / "bench" / "autoscaler-validation.json"


@click.command()
@click.option("--trace", "traces", multiple=True, type=click.Path(path_type=Path, exists=True), help="Default: both.")
@click.option("--jitter", type=click.FloatRange(0, 0.9), default=0.05, show_default=True, help="Of the others' steps.")
@click.option("--http", is_flag=True, help="Also processes of the engine simulator, over HTTP (seven minutes).")
@click.option("--vllm", is_flag=True, help="Also real vLLM with the tiny model on this CPU (`make model`; 10 minutes).")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=OUT)
def main(traces: tuple[Path, ...], jitter: float, http: bool, vllm: bool, seed: int, out: Path) -> None:
    """Compare the autoscaler's simulator with other engines, on the same requests."""
    paths = list(traces) or [DATA / name for name in TRACES]
    document: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {}
    pairs = {case.name: both(case, jitter) for case in cases(paths, seed)}
    tell("the engine simulator's scheduler, in virtual time", pairs, document)
    if http:
        tell("the engine simulator's processes, over HTTP", over_http.compare(paths[0], seed), document)
    if vllm:
        found, terms = on_cpu.compare(ROOT / ".models" / "tiny", seed)
        document["vLLM's steps, as measured (s)"] = terms
        tell("vLLM on this CPU", found, document)
        change = terms["speed after"] / terms["speed before"]
        if not 1 / _STEADY <= change <= _STEADY:
            click.echo(f"the machine became {change:.1f} times as fast meanwhile: run it again when nothing else works")
        tell_slower(slower.measure(ROOT / ".models" / "tiny", seed), document)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=2) + "\n")
    click.echo(out)


def both(case: Case, jitter: float) -> tuple[Measured, Measured]:
    """Run a case on our engine and on the engine simulator's scheduler, whose steps vary by `jitter`."""
    slo, model = Slo(), case.setup.model
    engine = type("Varying", (Reference,), {"jitter": jitter})
    found = []
    for setup in (case.setup, replace(case.setup, engine=engine)):
        began = time.monotonic()
        outcome = run(case.scene.trace, case.policy, setup)
        found.append(of(outcome, slo, model, time.monotonic() - began))
    return found[0], found[1]


def tell(what: str, pairs: dict[str, tuple[Measured, Measured]], document: dict[str, Any]) -> None:
    """Print pairs of runs, and put them into the document."""
    Console(width=180).print(table(f"simulated / {what}: first token, answer (s)", pairs))
    document[what] = {
        name: {
            "simulated": ours.as_json(),
            "other": theirs.as_json(),
            "replicas_apart": round(apart(ours.moments, theirs.moments), 3),
        }
        for name, (ours, theirs) in pairs.items()
    }


def tell_slower(found: slower.Found, document: dict[str, Any]) -> None:
    """Print how answers became slower and what that shows, and put it into the document."""
    known = found.fits()
    (name, (line, _)), (_, (exact, _)), *_ = known.items()
    rows = {f"{level:.0%}": points for level, points in found.levels.items()}
    rows |= {f"full {when}": [point] for when, point in zip(("before", "after"), found.full, strict=True)}
    console = Console(width=180)
    title = f"tokens a second of each sequence, windows of {slower.WINDOW_SECONDS:.0f} s"
    console.print(levels(title, rows, line, found.estimates[name]))
    rows = {level: exactly(points) for level, points in rows.items()}
    console.print(levels("the same, by the times between tokens", rows, exact, found.estimates[name]))
    console.print(fits("the line, and the capacity (work a second) that it shows", known))
    console.print("load of the machine:", " ".join(f"{load:.1f}" for load in found.loads))
    console.print("steps of one, of all places (ms):", " ".join(f"{1000 * step:.1f}" for step in found.steps))
    document["how vLLM's answers become slower"] = found.as_json()


if __name__ == "__main__":
    main()
