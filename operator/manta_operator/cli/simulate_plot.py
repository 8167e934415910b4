"""One picture of a comparison: demand, replicas and latency for each policy. Effects: writes a PNG.

matplotlib is large and nothing else needs it, so that it is an extra of its own (`manta[plot]`).
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manta_operator.cli.failures import Refused
from manta_operator.scaling.simulation.compare import Compared, Row, quantile
from manta_operator.scaling.simulation.outcome import Outcome
from manta_operator.scaling.simulation.policies.oracle import BIN_SECONDS

_LATENCY_BIN = 30.0
_ROW_INCHES = 2.2


def check(path: Path) -> None:
    """Refuse a picture that could not be drawn, before anything is simulated. Raises Refused."""
    if importlib.util.find_spec("matplotlib") is None:
        raise Refused([f"--png {path}: pictures need matplotlib: pip install 'manta[plot]', or leave --png out"])
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise Refused([f"--png {path}: name a file in a folder that is there"])


def draw(compared: Compared, title: str, path: Path, unit: str = "GPU") -> None:
    """Write the picture: a row for each policy, replicas and demand left, time to first token right."""
    # Half a second that only pictures are worth.
    from matplotlib.figure import Figure  # noqa: PLC0415

    names = list(compared.outcomes)
    figure = Figure(figsize=(14, _ROW_INCHES * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 2, sharex=True, squeeze=False)
    for (left, right), name in zip(axes, names, strict=True):
        outcome, row = compared.outcomes[name], compared.rows[name]
        _replicas(left, compared.load, outcome)
        left.set_title(
            f"{name}: {row['slo_attainment']:.1%} in time, {row['gpu_hours']:.1f} {unit}-hours{_of_oracle(row)}",
            loc="left",
            fontsize=9,
        )
        _latency(right, outcome)
    axes[0][0].legend(loc="upper right", fontsize=7)
    for axis in axes[-1]:
        axis.set_xlabel("minutes")
    figure.suptitle(title)
    try:
        figure.savefig(path, dpi=80, format="png")
    except OSError as error:
        raise Refused([f"--png {path}: cannot be written: {error.strerror or error}"]) from error


def _of_oracle(row: Row) -> str:
    share = row["gpu_hours_over_oracle"]
    return "" if share is None else f" ({share:.2f} x the oracle)"


def _replicas(axis: Any, load: Sequence[float], outcome: Outcome) -> None:
    first = round(outcome.begin / BIN_SECONDS)
    minutes = [(index * BIN_SECONDS - outcome.begin) / 60 for index in range(first, len(load))]
    axis.fill_between(minutes, load[first:], step="post", color="0.8", label="demand (replicas it fills)")
    moments = [moment for moment in outcome.moments if outcome.begin <= moment.at <= outcome.end]
    times = [(moment.at - outcome.begin) / 60 for moment in moments]
    axis.step(
        times,
        [moment.total for moment in moments],
        where="post",
        color="C1",
        lw=1,
        label="in all: starting, draining too",
    )
    axis.step(times, [moment.ready for moment in moments], where="post", color="C0", lw=1, label="ready")
    axis.set_ylabel("replicas")
    axis.set_ylim(bottom=0)


def _latency(axis: Any, outcome: Outcome) -> None:
    bins: dict[int, list[float]] = {}
    for job in outcome.jobs:
        if job.first >= 0:
            number = int((job.request.at - outcome.begin) // _LATENCY_BIN)
            bins.setdefault(number, []).append(job.first - job.request.at)
    at = sorted(bins)
    minutes = [index * _LATENCY_BIN / 60 for index in at]
    for share, colour in ((0.5, "C0"), (0.99, "C3")):
        values = [max(1e-3, quantile(sorted(bins[index]), share)) for index in at]
        axis.semilogy(minutes, values, color=colour, lw=1, label=f"p{share * 100:.0f}")
    axis.set_ylabel("first token (s)")
    axis.legend(loc="upper right", fontsize=7)
