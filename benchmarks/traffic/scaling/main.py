"""`make autoscaling`: run every scenario, write build/bench/autoscaling.json, print a table. 1: a problem."""

import asyncio
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from traffic.scaling.report import Row, table
from traffic.scaling.run import scene
from traffic.scaling.scenarios import SCENARIOS, Scenario, prepare
from traffic.scaling.world import autoscaling
from traffic.world import ROOT, Stuck

_BY_NAME = {each.name: each for each in SCENARIOS}


@click.command()
@click.option("--only", "names", multiple=True, type=click.Choice(list(_BY_NAME)), help="Only these, in this order.")
@click.option("--rounds", type=click.IntRange(1, 100), default=1, show_default=True, help="How often each is run.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "build" / "bench" / "autoscaling.json")
@click.option("--keep", is_flag=True, help="Keep the logs of the box.")
def main(names: tuple[str, ...], rounds: int, out: Path, keep: bool) -> None:
    """Change the load of a deployment that scales itself, and see whether replicas follow and requests are answered."""
    chosen = [_BY_NAME[name] for name in names or _BY_NAME for _ in range(rounds)]
    folder = Path(tempfile.mkdtemp(prefix="manta-autoscaling-"))
    click.echo(f"autoscaling: {len(chosen)} scenarios; logs in {folder}")
    began = time.monotonic()
    rows = asyncio.run(_run(folder, chosen))
    document = _document(rows, time.monotonic() - began)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=2) + "\n")
    console = Console(width=160)
    console.print(table(rows))
    for row in rows:
        for problem in row["problems"]:
            console.print(f"  {row['scenario']}: {problem}; {row.get('why') or ''}", markup=False)
    click.echo(f"{document['seconds']:.0f} s; reactions {document['reaction_s']}; {out}")
    failed = any(row["problems"] for row in rows) or len(rows) < len(chosen)
    if not (keep or failed):
        shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(1 if failed else 0)


async def _run(folder: Path, chosen: list[Scenario]) -> list[Row]:
    rows = []
    async with scene(folder, autoscaling()) as stage:
        for scenario in chosen:
            click.echo(f"{scenario.name} ...")
            await prepare(stage, scenario)
            try:
                row = await scenario.run(stage)
            except Stuck as error:
                click.echo(f"{scenario.name}: {error}")
                break
            rows.append(row | {"problems": scenario.problems(row)})
            click.echo(json.dumps(rows[-1]))
    return rows


def _document(rows: list[Row], seconds: float) -> dict[str, Any]:
    """All rows, and the median and the worst of their reactions."""
    found = sorted(row["reaction_s"] for row in rows if row["reaction_s"] is not None)
    told = {"median": statistics.median(found), "worst": found[-1], "count": len(found)} if found else {}
    return {"seconds": round(seconds, 1), "reaction_s": told, "scenarios": rows}


if __name__ == "__main__":
    main()
