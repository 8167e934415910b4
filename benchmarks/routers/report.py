"""What the rounds come to: the median of each number, latencies as what a router adds to the direct way, the goals."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Round = Mapping[str, float]

_SHARES = (50, 95, 99)
_COLUMNS = (
    ("rps", "requests/s", 10, 0),
    ("chunks_per_s", "chunks/s", 10, 0),
    ("added_p50_ms", "+p50 ms", 9, 2),
    ("added_p95_ms", "+p95 ms", 9, 2),
    ("added_p99_ms", "+p99 ms", 9, 2),
    ("saturated_p50_ms", "full p50", 9, 2),
    ("saturated_p95_ms", "full p95", 9, 2),
    ("saturated_p99_ms", "full p99", 9, 2),
    ("cpu_s_per_1000", "CPU s/1000", 11, 2),
    ("rss_mb", "RSS MB", 8, 0),
)


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Per router the medians over its rounds; None for one that was left out, with the reason under `left_out`."""
    rounds: Mapping[str, Sequence[Round]] = found["rounds"]
    direct = rounds["direct"]
    report: dict[str, Any] = {}
    for name, own in rounds.items():
        report[name] = _medians([dict(r) | _added(r, d) for r, d in zip(own, direct, strict=False)]) if own else None
    return report | {"left_out": dict(found["left_out"])}


def _medians(rounds: Sequence[Round]) -> dict[str, float]:
    return {key: round(statistics.median(r[key] for r in rounds), 3) for key in rounds[0]}


def _added(own: Round, direct: Round) -> dict[str, float]:
    """What the router adds to each percentile of the direct way of the same round, at the fixed rate."""
    return {f"added_p{share}_ms": own[f"at_rate_p{share}_ms"] - direct[f"at_rate_p{share}_ms"] for share in _SHARES}


def table(report: Mapping[str, Any]) -> str:
    """One line a router."""
    lines = [f"{'':<26}" + "".join(f"{title:>{width}}" for _, title, width, _ in _COLUMNS)]
    for name, row in report.items():
        if name == "left_out":
            continue
        if row is None:
            lines.append(f"{name:<26}  left out: {report['left_out'].get(name, 'not asked for')}")
            continue
        lines.append(f"{name:<26}" + "".join(f"{row[key]:>{width}.{digits}f}" for key, _, width, digits in _COLUMNS))
    return "\n".join(lines)


def goals(report: Mapping[str, Any]) -> str:
    """Each goal with what was reached; those that need a router that is not there are said to be open."""
    manta, peer = report.get("manta"), report.get("vllm_router_cache_aware")
    if not manta:
        return "no goal can be judged without manta"
    lines = [_line("added p95 at 200 requests/s", manta["added_p95_ms"], "<= 5 ms", manta["added_p95_ms"] <= 5)]
    if peer is None:
        lines.append("the other goals compare with vllm_router_cache_aware, which did not run")
    else:
        for key, what in (("rps", "requests/s"), ("chunks_per_s", "chunks/s")):
            ratio = manta[key] / peer[key]
            lines.append(_line(f"{what} against vllm-router cache_aware", ratio, ">= 2 x", ratio >= 2))
    return "\n".join(lines)


def _line(what: str, value: float, wanted: str, reached: bool) -> str:
    return f"  {what:<48} {value:8.2f}   goal {wanted:<8} {'reached' if reached else 'MISSED'}"
