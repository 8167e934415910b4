"""What `manta status` prints: summaries and pictures to lines for a terminal of some width, or for a pipe. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from manta_operator.cli.fit_story import side_by_side
from manta_operator.cli.picture import Picture, Pod, Summary, age
from manta_operator.cli.table import Cell, Column, fold, lay_out

_LABEL = 12


def table(found: Sequence[Summary], now: datetime, width: int | None, *, namespaces: bool, wide: bool) -> list[str]:
    """Return one row a deployment; `namespaces` and `wide` add columns."""
    columns = [Column("NAMESPACE")] if namespaces else []
    columns += [Column("NAME"), Column("SERVING"), Column("STATE"), Column("AGE", gives_way=2)]
    extra = [Column("MODEL"), Column("ACCELERATOR"), Column("REVISION")] if wide else []
    columns += [*extra, Column("ENDPOINT", gives_way=0 if wide else 3), Column("MESSAGE")]
    rows = []
    for each in found:
        row: list[str | Cell] = [each.namespace] if namespaces else []
        row += [each.name, _serving(each), _state(each), age(each.created, now)]
        row += [each.model, each.accelerator, each.revision] if wide else []
        rows.append([*row, each.endpoint, each.message])
    return lay_out(columns, rows, width)


def _serving(each: Summary) -> str:
    """Return how many of those asked for serve, and between which bounds an autoscaler asks."""
    limits = f" ({each.bounds[0]}..{each.bounds[1]})" if each.bounds else ""
    return f"{each.serving}/{each.desired}{limits}"


def full(seen: Picture, now: datetime, width: int | None) -> list[str]:
    """Return everything about one deployment, section by section."""
    lines = [*_head(seen, now, width)]
    for title, section in (
        ("Conditions", _conditions(seen, now, width)),
        ("Fit", side_by_side(seen.fit, width)),
        (f"Replicas: {_counts(seen)}", _replicas(seen, now, width)),
        ("Adapters", _adapters(seen, width)),
        (f"Router: {_ready(seen.router)} of {len(seen.router)} pods ready", _router(seen, now, width)),
        ("Decisions", _decisions(seen, width)),
        ("Events, last at the end", _events(seen, now, width)),
        ("Not shown", [line for each in seen.unread for line in _item(each, width)]),
    ):
        if section:
            lines += ["", click.style(title, bold=True), *section]
    return lines


def _head(seen: Picture, now: datetime, width: int | None) -> Iterator[str]:
    each = seen.summary
    title = click.style(f"{each.namespace}/{each.name}", bold=True)
    yield f"{title}  {click.style(each.state, fg=_state(each).colour)}"
    rows = {
        "message": each.message,
        "model": each.model,
        "accelerator": f"{each.accelerator}: each replica is {seen.plan}" if seen.plan else each.accelerator,
        "fit": _fit(seen),
        "engine": _engine(seen),
        "autoscaling": _autoscaling(seen),
        "endpoint": each.endpoint,
        "revision": each.revision,
        "age": age(each.created, now),
    }
    for label, value in rows.items():
        if value:
            yield from _labelled(label, value, width)


def _fit(seen: Picture) -> str:
    verdict = {"True": "fits", "False": "does not fit", "Unknown": "unknown"}.get(str(seen.fit.get("fits")), "")
    return ": ".join(part for part in (verdict, str(seen.fit.get("message") or "")) if part)


def _engine(seen: Picture) -> str:
    """Return what the engines have chosen, by their own word."""
    said = seen.engine
    kernels = ", ".join(map(str, said.get("quantizationKernels") or ()))
    guesses = said.get("speculative") if said.get("speculative") != "none" else None
    parts = (
        ("vLLM", said.get("version")),
        ("attention", said.get("attentionBackend")),
        ("quantization", said.get("quantization") and f"{said['quantization']}{f' ({kernels})' if kernels else ''}"),
        ("KV cache of", said.get("kvCacheTokens") is not None and f"{said['kvCacheTokens']} tokens"),
        ("guesses by", guesses),
    )
    return ", ".join(f"{name} {value}" for name, value in parts if value)


def _autoscaling(seen: Picture) -> str:
    """Return the bounds, and the last decision."""
    if seen.summary.bounds is None:
        return ""
    few, many = seen.summary.bounds
    said = seen.autoscaling.get("message")
    return f"between {few} and {many}; {said} (--why tells more)" if said else f"between {few} and {many}"


def _labelled(label: str, value: str, width: int | None) -> Iterator[str]:
    first, *more = [value] if width is None else fold(value, width - _LABEL - 2)
    yield f"  {label:<{_LABEL}}{first}"
    yield from (" " * (_LABEL + 2) + line for line in more)


def _conditions(seen: Picture, now: datetime, width: int | None) -> list[str]:
    columns = [Column("TYPE"), Column("STATUS"), Column("SINCE", gives_way=1), Column("REASON"), Column("MESSAGE")]
    rows: list[list[str | Cell]] = []
    for each in seen.conditions:
        since = age(str(each.get("lastTransitionTime") or ""), now)
        status = Cell(str(each["status"]), _condition_colour(str(each["type"]), str(each["status"])))
        rows.append([str(each["type"]), status, since, str(each.get("reason", "")), str(each.get("message", ""))])
    return lay_out(columns, rows, width, 2) if rows else []


def _condition_colour(kind: str, status: str) -> str:
    if kind == "Progressing":
        return ""
    good = "False" if kind == "Degraded" else "True"
    return "green" if status == good else "yellow" if status == "Unknown" else "red"


def _counts(seen: Picture) -> str:
    """Return how far the replicas are, and the rollout where there is one."""
    text = f"{seen.summary.serving} of {seen.summary.desired} serve"
    if all(each.current for each in seen.replicas):
        return text
    new = [each for each in seen.replicas if each.current]
    old = len(seen.replicas) - len(new)
    serving = sum(each.ready >= each.size for each in new)
    return f"{text}; rolling out {seen.summary.revision}: {serving} of {len(new)} new serve, {old} older to leave"


_POD_COLUMNS = (
    Column("POD"),
    Column("STATE"),
    Column("RESTARTS", gives_way=2),
    Column("AGE", gives_way=3),
    Column("NODE", gives_way=4),
    Column("ADDRESS", gives_way=1),
    Column("PROBLEM"),
)


def _replicas(seen: Picture, now: datetime, width: int | None) -> list[str]:
    """Return a row for every pod, with the replica it belongs to, and for replicas that have none."""
    rows: list[list[str | Cell]] = []
    for each in seen.replicas:
        mark = "leaves" if each.leaving else "" if each.current else "older"
        number = f"{each.index} ({mark})" if mark else str(each.index)
        rows += [[number, *_pod(pod, now)] for pod in each.pods]
        if not each.pods:
            rows.append([number, each.name, Cell("No pods", "yellow"), "", "", "", "", ""])
    return lay_out([Column("REPLICA"), *_POD_COLUMNS], rows, width, 2) if rows else []


def _adapters(seen: Picture, width: int | None) -> list[str]:
    """Return a row for every adapter, and for each replica that has not loaded it."""
    rows: list[list[str | Cell]] = []
    for each in seen.adapters:
        name, loaded = str(each.get("name", "")), str(each.get("loaded", 0))
        missing = [row for row in each.get("replicas") or () if row.get("state") != "Loaded"]
        rows += [[name, loaded, *_replica_of_adapter(row)] for row in missing]
        if not missing:
            rows.append([name, loaded, Cell("Loaded", "green"), "", ""])
    columns = [Column("ADAPTER"), Column("LOADED"), Column("STATE"), Column("POD", gives_way=1), Column("MESSAGE")]
    return lay_out(columns, rows, width, 2) if rows else []


def _replica_of_adapter(row: Mapping[str, Any]) -> list[str | Cell]:
    state = str(row.get("state", ""))
    return [Cell(state, "red" if state == "Failed" else "yellow"), str(row.get("pod", "")), str(row.get("message", ""))]


def _router(seen: Picture, now: datetime, width: int | None) -> list[str]:
    return lay_out(_POD_COLUMNS, [_pod(pod, now) for pod in seen.router], width, 2) if seen.router else []


def _pod(each: Pod, now: datetime) -> list[str | Cell]:
    state = Cell(each.state, "green" if each.state == "Ready" else "yellow")
    return [each.name, state, str(each.restarts), age(each.created, now), each.node, each.address, each.problem]


def _decisions(seen: Picture, width: int | None) -> list[str]:
    """Return the decisions that the head does not tell already."""
    told = {f"each replica is {seen.plan}", seen.fit.get("message"), seen.summary.message}
    told.add(seen.autoscaling.get("message"))
    new = [each for each in seen.decisions if each["message"] not in told]
    return [line for each in new for line in _item(f"{each['reason']}: {each['message']}", width)]


def _events(seen: Picture, now: datetime, width: int | None) -> list[str]:
    columns = [Column("AGE"), Column("TYPE", gives_way=2), Column("REASON"), Column("MESSAGE")]
    rows: list[list[str | Cell]] = []
    for each in seen.events:
        times = f" (x{each.count})" if each.count > 1 else ""
        message = ": ".join(part for part in (each.object, each.message) if part) + times
        kind = Cell(each.type, "yellow" if each.type == "Warning" else "")
        rows.append([age(each.time, now), kind, each.reason, message])
    return lay_out(columns, rows, width, 2) if rows else []


def _item(text: str, width: int | None) -> list[str]:
    first, *more = [text] if width is None else fold(text, width - 4)
    return [f"  - {first}", *(f"    {line}" for line in more)]


def _ready(pods: Iterable[Pod]) -> int:
    return sum(pod.state == "Ready" for pod in pods)


def _state(each: Summary) -> Cell:
    return Cell(each.state, "green" if each.ready else "yellow")
