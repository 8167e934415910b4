"""`make bench-affinity SWEEP=1`: in which scenarios does `manta` reach its goals?"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import click

from affinity import synthetic
from affinity.catalogue import POLICIES
from affinity.fleet import Setup, Simulation
from affinity.main import DEFAULT_TRACE, ROOT, SHARED
from affinity.measure import Row, compare, measure
from affinity.report import reached
from affinity.traces import Ask, TraceError, best_possible, find, load


@dataclass(frozen=True)
class Scenario:
    """A trace (by name, or made up at `rate` requests a second) at some load, on some engines."""

    kind: str = ""
    rate: float = 0.0
    scale: float = 1.0
    setup: Setup = field(default_factory=Setup)

    def asks(self, trace: Path | None) -> list[Ask]:
        """Return its requests."""
        if self.kind:
            return synthetic.make(self.kind, rate=self.rate, count=4000, data=SHARED)
        return load(trace or find(DEFAULT_TRACE, ()), rate_scale=self.scale)


SCENARIOS = {
    "trace": Scenario(),
    "trace at a third": Scenario(scale=0.33),
    "trace x 1.3": Scenario(scale=1.3),
    "trace x 1.6": Scenario(scale=1.6),
    "trace, half the cache": Scenario(setup=Setup(kv_tokens=200_000)),
    "trace, 3 x the cache": Scenario(setup=Setup(kv_tokens=1_200_000)),
    "trace, 10 x the cache": Scenario(setup=Setup(kv_tokens=4_000_000)),
    "trace, 4 engines": Scenario(scale=0.5, setup=Setup(engines=4)),
    "trace, 16 engines": Scenario(scale=2.0, setup=Setup(engines=16)),
    "hot 40/s": Scenario("hot", 40),
    "hot 80/s (too many)": Scenario("hot", 80),
    "turns 25/s": Scenario("turns", 25),
    "turns 40/s": Scenario("turns", 40),
    "agents 25/s": Scenario("agents", 25),
    "agents 50/s": Scenario("agents", 50),
    "agents, half the cache": Scenario("agents", 50, setup=Setup(kv_tokens=200_000)),
    "unshared 60/s": Scenario("unshared", 60),
    "azure 40/s": Scenario("azure", 40),
    "azure 70/s": Scenario("azure", 70),
}


@click.command()
@click.option("--trace", type=click.Path(path_type=Path), help="Instead of the default one.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "build" / "bench" / "affinity-sweep.json")
def main(trace: Path | None, out: Path) -> None:
    """Run every policy in every scenario; one line for each."""
    document = {}
    try:
        path = find(trace, (ROOT, SHARED / "data")) if trace else None
        for name, scenario in SCENARIOS.items():
            rows = _run(scenario, path)
            document[name] = rows
            click.echo(_line(name, rows))
    except TraceError as error:
        raise click.ClickException(str(error)) from error
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=2) + "\n")
    count = sum(all(reached(rows)) for rows in document.values())
    click.echo(f"all three goals reached in {count} of {len(document)} scenarios; {out}")


def _run(scenario: Scenario, trace: Path | None) -> dict[str, Row]:
    asks = scenario.asks(trace)
    rows = {name: measure(Simulation(scenario.setup, make).run(asks)) for name, make in POLICIES.items()}
    compare(rows, best_possible(asks))
    return rows


def _line(name: str, rows: dict[str, Row]) -> str:
    ours = rows["manta"]
    others = {other: row for other, row in rows.items() if not other.startswith("manta")}
    quickest = min(others, key=lambda other: others[other]["ttft_p90_s"])
    marks = "".join(letter if met else "-" for letter, met in zip("HIT", reached(rows), strict=True))
    return (
        f"{name:24} {marks}  hits {ours['hit_ratio']:5.1%} ({ours['hit_ratio_of_best']:4.0%} of best)  "
        f"imbalance {ours['imbalance']:.2f}  ttft p90 {ours['ttft_p90_s']:6.2f} s "
        f"(best of the others: {quickest} {others[quickest]['ttft_p90_s']:.2f} s)"
    )


if __name__ == "__main__":
    main()
