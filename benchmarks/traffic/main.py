"""`make traffic`: run every change, write build/bench/traffic.json, print a table; exit code 1 if one was lost."""

import asyncio
import json
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from traffic.changes import CHANGES
from traffic.report import spotless, table
from traffic.run import run
from traffic.world import ROOT, Stuck

_LIMIT_SECONDS = 900
BY_NAME = {change.name: change for change in CHANGES}


@click.command()
@click.option("--rate", type=click.FloatRange(1, 500), default=40.0, show_default=True, help="Requests a second.")
@click.option("--change", "names", multiple=True, type=click.Choice(list(BY_NAME)), help="Only these, in this order.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "build" / "bench" / "traffic.json")
@click.option("--keep", is_flag=True, help="Keep the logs of the box.")
def main(rate: float, names: tuple[str, ...], out: Path, keep: bool) -> None:
    """Send requests through a deployment's Service on a box while things change, and count what becomes of them."""
    chosen = [BY_NAME[name] for name in names] or list(BY_NAME.values())
    began = time.monotonic()
    folder = tempfile.mkdtemp(prefix="manta-traffic-") if keep else tempfile.TemporaryDirectory(prefix="manta-traffic-")
    path = Path(folder if isinstance(folder, str) else folder.name)
    click.echo(f"traffic: {rate:g} requests/s while {len(chosen)} changes are made; logs in {path}")
    try:
        rows = asyncio.run(asyncio.wait_for(run(path, chosen, rate, click.echo), _LIMIT_SECONDS))
    except (Stuck, TimeoutError) as error:
        raise click.ClickException(str(error) or f"not done within {_LIMIT_SECONDS} s") from error
    finally:
        if not isinstance(folder, str):
            folder.cleanup()
    document = {"rate": rate, "seconds": round(time.monotonic() - began, 1), "changes": rows}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=2) + "\n")
    console = Console(width=140)
    console.print(table(rows))
    for row in rows:
        for why, count in row["why"].items():
            console.print(f"  {row['change']}: {count} x {why}", markup=False)
        if row["excuse"]:
            console.print(f"  {row['change']}: {row['excuse']}", markup=False)
    click.echo(f"{document['seconds']:.0f} s; {out}")
    if not spotless(rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
