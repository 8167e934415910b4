"""`make bench-coldstart`: cold starts of vLLM with and without the launcher, in turn, with the same flags.

It writes build/bench/coldstart.json. Both are timed from outside, from the start of the first process to the first
token, so that all the launcher does counts: its own imports, the log it passes on, and how late it notices. Where
others use the machine, too, the clock says little; the CPU seconds of all processes until then are steadier.
"""

import asyncio
import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

import click

from coldstart.starts import Started, settings_for, start_bare, start_launcher

_RECIPE = ("--dtype=bfloat16", "--max-model-len=1024", "--kv-cache-memory-bytes=64M")
_GOAL = 0.05


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Starts of each kind.")
@click.option("--model", type=click.Path(exists=True, path_type=Path), default=".models/tiny", show_default=True)
@click.option("--compile", "compiles", is_flag=True, help="With torch.compile instead of --enforce-eager.")
@click.option("--out", type=click.Path(path_type=Path), default="build/bench", show_default=True)
def main(rounds: int, model: Path, compiles: bool, out: Path) -> None:
    """Compare the launcher with bare vLLM."""
    out.mkdir(parents=True, exist_ok=True)
    settings = settings_for(model.resolve(), _RECIPE if compiles else (*_RECIPE, "--enforce-eager"))
    load = os.getloadavg()[0]
    pairs: list[tuple[Started, Started]] = []
    # The first start of all fills the page cache, for which neither should pay.
    asyncio.run(start_bare(settings, out / "coldstart-first.log"))
    for number in range(rounds):
        kinds = [start_bare, start_launcher]
        found = {}
        # Who goes first changes: a machine that gets slower, or warmer, must not favour one of them.
        for kind in kinds if number % 2 == 0 else kinds[::-1]:
            found[kind] = asyncio.run(kind(settings, out / f"coldstart-{kind.__name__.removeprefix('start_')}.log"))
            name, one = kind.__name__.removeprefix("start_"), found[kind]
            click.echo(f"round {number + 1}: {name:<9}{one.seconds:7.2f} s, CPU {one.cpu:.2f} s")
        pairs.append((found[start_bare], found[start_launcher]))
    report = _report(pairs, load)
    (out / "coldstart.json").write_text(json.dumps(report, indent=1) + "\n")
    click.echo(_words(report))


def _report(pairs: list[tuple[Started, Started]], load: float) -> dict[str, Any]:
    bare = [each.seconds for each, _ in pairs]
    launched = [each.seconds for _, each in pairs]
    names = [each["phase"] for each in pairs[-1][1].status["phases"] if each["over"]]
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "rounds": len(pairs),
        "bare_s": [round(each, 3) for each in bare],
        "launcher_s": [round(each, 3) for each in launched],
        "bare_median_s": round(statistics.median(bare), 3),
        "launcher_median_s": round(statistics.median(launched), 3),
        "added_share": round(statistics.median(launched) / statistics.median(bare) - 1, 4),
        "added_share_of_best": round(min(launched) / min(bare) - 1, 4),
        "bare_cpu_s": [round(each.cpu, 2) for each, _ in pairs],
        "launcher_cpu_s": [round(each.cpu, 2) for _, each in pairs],
        "added_cpu_share": round(_median_cpu(pairs, 1) / _median_cpu(pairs, 0) - 1, 4),
        "before_vllm_s": round(statistics.median(_before_vllm(each) for _, each in pairs), 3),
        "launcher_own_cpu_s": round(statistics.median(each.first_cpu for _, each in pairs), 3),
        "phases_s": {name: round(statistics.median(_phase(each, name) for _, each in pairs), 3) for name in names},
    }


def _median_cpu(pairs: list[tuple[Started, Started]], which: int) -> float:
    return statistics.median(pair[which].cpu for pair in pairs)


def _before_vllm(started: Started) -> float:
    """Seconds from the launcher's start to that of vLLM: what it adds for certain, however noisy the rest is."""
    begins = [float(each["begun"]) for each in started.status["phases"] if each["phase"] == "start"]
    return begins[0] - started.begun


def _phase(started: Started, name: str) -> float:
    return float(sum(each["seconds"] for each in started.status["phases"] if each["phase"] == name))


def _words(report: dict[str, Any]) -> str:
    verdict = "reached" if report["added_share"] <= _GOAL else "MISSED"
    phases = ", ".join(f"{name} {seconds} s" for name, seconds in report["phases_s"].items())
    return (
        f"bare {report['bare_median_s']} s, launcher {report['launcher_median_s']} s (medians of {report['rounds']}): "
        f"{report['added_share']:+.1%}, goal at most {_GOAL:+.0%}: {verdict}; best of each "
        f"{report['added_share_of_best']:+.1%}, CPU {report['added_cpu_share']:+.1%}\n"
        f"vLLM starts {report['before_vllm_s']} s after the launcher, whose own CPU until the token is "
        f"{report['launcher_own_cpu_s']} s; phases under it: {phases}"
    )


if __name__ == "__main__":
    main()
