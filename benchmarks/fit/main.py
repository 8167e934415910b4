"""`make bench-fit`: the planner's arithmetic against start-ups of real vLLM; a table, and build/bench/fit.json."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from fit import gpus, models
from fit.holdout import leave_one_model_out
from fit.measure import Row, measure, skipped, summary
from fit.predict import predict, uncountable
from fit.records import Record, RecordsError, read
from fit.report import sentences, table
from fit.split import bare, split

if TYPE_CHECKING:
    from manta_operator.facts.accelerators import Accelerator
    from manta_operator.facts.models import ModelFacts

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
_A_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--records", type=_A_PATH, default=DATA / "fit_records.jsonl", help="Start-ups, one JSON object a line.")
@click.option("--models", "models_file", type=_A_PATH, default=DATA / "fit_models.json", help="Facts by model.")
@click.option("--gpus", "gpus_file", type=_A_PATH, default=DATA / "fit_gpus.json", help="Memory by GPU.")
@click.option("--out", type=_A_PATH, default=ROOT / "build" / "bench" / "fit.json")
@click.option("--quiet", is_flag=True, help="No line for each record.")
def main(records: Path, models_file: Path, gpus_file: Path, out: Path, quiet: bool) -> None:
    """Predict each start-up, and say how far off it is."""
    for path, option in ((records, "RECORDS"), (models_file, "MODELS"), (gpus_file, "GPUS")):
        if not path.is_file():
            click.echo(
                f"{path} is not there: say where it is, as in make bench-fit {option}=/path/to/{path.name}", err=True
            )
            sys.exit(2)
    try:
        started, known, cards = read(records), _mapping(models_file), _mapping(gpus_file)
    except RecordsError as error:
        raise click.ClickException(str(error)) from error
    timings: list[float] = []
    rows = [_row(record, known, cards, timings) for record in started]
    figures = summary(rows) | split(rows)
    figures["holdout"] = leave_one_model_out(rows)
    figures["without_catalog"] = bare(summary([_row(each, known, cards, [], with_catalog=False) for each in started]))
    figures["milliseconds_a_fit"] = round(1000 * statistics.median(timings), 3) if timings else 0.0
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=2) + "\n")
    if not quiet:
        Console(width=220).print(table(rows))
    for line in sentences(figures):
        click.echo(line)
    click.echo(str(out))


def _row(
    record: Record, known: dict[str, Any], cards: dict[str, Any], timings: list[float], *, with_catalog: bool = True
) -> Row:
    """Predict one record; a row that says why where that cannot be done, whatever its line or its files say."""
    try:
        on, facts = gpus.find(record, cards), models.find(record, known, with_catalog=with_catalog)
        return _predicted(record, on, facts, timings)
    except Exception as error:  # noqa: BLE001 - one line of somebody's file must not take the others' figures away
        return skipped(record, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", broken=True)


def _predicted(record: Record, on: Accelerator | str, facts: ModelFacts | str, timings: list[float]) -> Row:
    refused = next((each for each in (on, facts) if isinstance(each, str)), uncountable(record))
    if refused or isinstance(on, str) or isinstance(facts, str):
        return skipped(record, refused)
    predicted = predict(record, facts, on)
    timings.append(predicted.seconds)
    return measure(predicted, on)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RecordsError(f"{path}: {error}") from error
    if not isinstance(said, dict):
        raise RecordsError(f"{path}: not a JSON object")
    return said


if __name__ == "__main__":
    main()
