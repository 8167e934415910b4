"""`make bench-affinity`: every policy on one trace; a table, and build/bench/affinity.json."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from affinity import synthetic
from affinity.catalogue import POLICIES
from affinity.fleet import Outcome, Setup, Simulation
from affinity.gpu import KV_TOKENS
from affinity.measure import Row, compare, measure
from affinity.report import table, verdict
from affinity.traces import Ask, TraceError, best_possible, find, load

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
DEFAULT_TRACE = SHARED / "data" / "mooncake_synthetic"


@dataclass(frozen=True)
class _Source:
    name: str
    asks: list[Ask]


@click.command()
@click.option(
    "--trace", default=str(DEFAULT_TRACE), help="A file of Mooncake's form; .jsonl or .jsonl.gz may be left out."
)
@click.option("--synthetic", "kind", type=click.Choice(synthetic.KINDS), help="A made-up trace instead.")
@click.option("--rate", type=click.FloatRange(min=0.01), default=20.0, show_default=True, help="Its requests a second.")
@click.option("--count", type=click.IntRange(min=1), default=4000, show_default=True, help="Its requests.")
@click.option("--engines", type=click.IntRange(1, 1000), default=8, show_default=True)
@click.option("--kv-tokens", type=click.IntRange(min=512), default=KV_TOKENS, show_default=True, help="Per engine.")
@click.option(
    "--routers", type=click.IntRange(1, 100), default=1, show_default=True, help="Chosen at random per request."
)
@click.option(
    "--rate-scale", type=click.FloatRange(min=0.001), default=1.0, show_default=True, help="2: twice the load."
)
@click.option("--limit", type=click.IntRange(min=0), default=0, help="Only the first requests of the trace.")
@click.option("--policy", "names", multiple=True, type=click.Choice(list(POLICIES)), help="Only these; manta always.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "build" / "bench" / "affinity.json")
def main(**options: Any) -> None:
    """Simulate engines with real prefix caches behind every policy, on the same requests."""
    began = time.monotonic()
    try:
        source = _source(options)
    except TraceError as error:
        raise click.ClickException(str(error)) from error
    setup = Setup(options["engines"], options["kv_tokens"], options["routers"], options["seed"])
    possible = best_possible(source.asks)
    click.echo(_headline(source, setup, possible))
    names = [name for name in POLICIES if not options["names"] or name in (*options["names"], "manta")]
    rows, outcome = _run_all(source.asks, setup, names)
    compare(rows, possible)
    two = _more_routers(source, setup, rows)
    document = {name: rows[name] for name in names} | {
        "meta": _meta(source, setup, possible, outcome)
        | ({"two_routers": two} if two else {})
        | {"seconds": round(time.monotonic() - began, 1)}
    }
    _tell(rows, two, document, options["out"])


def _source(options: dict[str, Any]) -> _Source:
    if options["kind"]:
        asks = synthetic.make(
            options["kind"], rate=options["rate"], count=options["count"], seed=options["seed"], data=SHARED
        )
        return _Source(f"synthetic:{options['kind']}", asks)
    path = find(options["trace"], (ROOT, SHARED / "data"))
    return _Source(path.name, load(path, limit=options["limit"], rate_scale=options["rate_scale"]))


def _run_all(asks: list[Ask], setup: Setup, names: list[str]) -> tuple[dict[str, Row], Outcome]:
    rows = {}
    for name in names:
        outcome = Simulation(setup, POLICIES[name]).run(asks)
        if not outcome.jobs:
            raise click.ClickException(f"no request fits in {setup.kv_tokens} tokens: give a larger --kv-tokens")
        rows[name] = measure(outcome)
    return rows, outcome


def _more_routers(source: _Source, setup: Setup, rows: dict[str, Row]) -> dict[str, Row]:
    """Every policy again with two routers that do not know of each other's requests."""
    if setup.routers > 1:
        return {}
    again, _ = _run_all(source.asks, replace(setup, routers=2), list(rows))
    for name, row in again.items():
        one = rows[name]["hit_ratio"]
        row["affinity_lost"] = round(1 - row["hit_ratio"] / one, 4) if one else 0.0
    return again


def _headline(source: _Source, setup: Setup, possible: float) -> str:
    asks = source.asks
    seconds = max(asks[-1].at, 1e-9)
    return (
        f"{source.name}: {len(asks)} requests in {seconds:.0f} s ({len(asks) / seconds:.1f}/s), "
        f"{sum(ask.prompt_tokens for ask in asks) / len(asks):.0f} prompt tokens on average; "
        f"{setup.engines} engines with {setup.kv_tokens} tokens of KV cache each, {setup.routers} router(s); "
        f"{possible:.1%} of the blocks are prefix hits with an infinite cache"
    )


def _meta(source: _Source, setup: Setup, possible: float, outcome: Outcome) -> dict[str, Any]:
    return {
        "trace": source.name,
        "requests": len(outcome.jobs),
        "refused": outcome.refused,
        "requests_per_s": round(len(source.asks) / max(source.asks[-1].at, 1e-9), 3),
        "engines": setup.engines,
        "kv_tokens": setup.kv_tokens,
        "routers": setup.routers,
        "seed": setup.seed,
        "infinite_cache_hit_ratio": round(possible, 4),
    }


def _tell(rows: dict[str, Row], two: dict[str, Row], document: dict[str, Any], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=2) + "\n")
    Console(width=150).print(table(rows))
    for line in verdict(rows):
        click.echo(line)
    for name in sorted(two, key=lambda name: -two[name]["hit_ratio"])[:4]:
        row = two[name]
        click.echo(
            f"with two routers, {name}: {row['hit_ratio']:.1%} hits ({row['affinity_lost']:.1%} of them lost), "
            f"imbalance {row['imbalance']:.2f}, time to first token p90 {row['ttft_p90_s']:.2f} s"
        )
    if document["meta"]["refused"]:
        click.echo(f"{document['meta']['refused']} requests do not fit in the KV cache and were left out")
    click.echo(f"{document['meta']['seconds']:.0f} s; {out}")


if __name__ == "__main__":
    main()
