"""`make faults`: make every fault, write build/bench/faults.json after each, print a table; exit 1 if one is bad."""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import click
from rich.console import Console
from traffic.world import Stuck

from faults.catalogue import FAULTS, ROOT
from faults.report import Row, machine, markdown, row, table
from faults.run import run
from faults.trial import Result

BY_NAME = {fault.name: fault for fault in FAULTS}


class _Report:
    """The rows so far, in a file from the first on: a run that is broken off has not been for nothing."""

    def __init__(self, out: Path, rate: float) -> None:
        self._out, self._began = out, time.monotonic()
        self.document = {"machine": machine(ROOT), "rate": rate, "seconds": 0.0, "faults": [], "problems": []}
        self.rows: list[Row] = self.document["faults"]

    def hear(self, result: Result) -> None:
        """Take in one result."""
        self.rows.append(row(result))
        last = self.rows[-1]
        asked = last["requests"]
        click.echo(
            f"{last['fault']}: not ready after {last['unready_s']} s, ended after {last['ended_s']} s, served again "
            f"after {last['served_s']} s; {asked['lost']} of {asked['sent']} lost, {asked['retried']} retried"
        )
        for words in (*last["problems"], *(f"{pod} said {said}" for pod, said in last["said"]["pods"].items())):
            click.echo(f"  {words}")
        self.write()

    def write(self) -> None:
        """Write what there is."""
        self.document["seconds"] = round(time.monotonic() - self._began, 1)
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._out.write_text(json.dumps(self.document, indent=1) + "\n")
        self._out.with_suffix(".md").write_text(markdown(self.document["machine"], self.rows))


@click.command()
@click.option("--rate", type=click.FloatRange(0.2, 20), default=3.0, show_default=True, help="Requests a second.")
@click.option("--only", "names", multiple=True, type=click.Choice(list(BY_NAME)), help="Only these faults.")
@click.option("--seconds", type=click.FloatRange(60), default=420.0, show_default=True, help="To recover from one.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "build" / "bench" / "faults.json")
@click.option("--keep", is_flag=True, help="Keep the logs of the box.")
def main(rate: float, names: tuple[str, ...], seconds: float, out: Path, keep: bool) -> None:
    """Kill and freeze one process after the other under a deployment of real engines, while requests run."""
    chosen = [fault for fault in FAULTS if not names or fault.name in names]
    report = _Report(out, rate)
    with _folder(keep) as folder:
        click.echo(f"faults: {rate:g} requests/s while {len(chosen)} faults are made; logs in {folder}")
        try:
            report.document["problems"] = asyncio.run(run(Path(folder), chosen, rate, seconds, report.hear))
        except (Stuck, aiohttp.ClientError, TimeoutError) as error:
            report.document["problems"] = [f"{type(error).__name__}: {error}"]
    report.write()
    Console(width=180).print(table(report.rows))
    bad = [f"{each['fault']}: {words}" for each in report.rows for words in each["problems"]]
    bad += report.document["problems"]
    for words in bad:
        click.echo(f"BAD: {words}")
    click.echo(f"{report.document['seconds']:.0f} s; {out}")
    if bad or len(report.rows) < len(chosen):
        raise SystemExit(1)


@contextmanager
def _folder(keep: bool) -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="manta-faults-")
    try:
        yield path
    finally:
        if not keep:
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()
