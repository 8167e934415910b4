"""`manta status NAME --why`: who rules the number of replicas, and what it was decided from. Pure.

It shows `status.autoscaling`, which the operator writes when it says something new: the sentence of the last decision,
its numbers with what each means, the changes, and whether the signals can be had. Without `spec.autoscaling` it says
who has written `spec.replicas`; when it was left out under load, how the replicas go down to it.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import click

from manta_operator.api.autoscaling import ScaleToZeroSpec
from manta_operator.cli.picture import age, bounds, desired
from manta_operator.cli.table import Cell, Column, fold, lay_out
from manta_operator.planning.autoscale_off import TURNED_OFF

Body = Mapping[str, Any]

NUMBERS: Mapping[str, tuple[str, str]] = {
    "asked": ("replicas", "asked for when it was decided"),
    "ready": ("replicas", "that served then"),
    "starting": ("replicas", "on their way: they count, so that a need is not answered twice"),
    "unschedulable": ("replicas", "that wait for a place; they count, too"),
    "load": ("replicas", "that the work of now fills entirely"),
    "need": ("replicas", "for that work, for how it fluctuates, and for what waits"),
    "held": ("replicas", "the most that were needed within the stabilisation window"),
    "waiting": ("requests", "that nobody computes yet: held in routers, or waiting in engines"),
    "speed": (
        "ratio",
        "what a replica is taken to do of the planner's estimate: 0.8 until engines show it",
    ),
    "shown": ("ratio", "what it does as slower answers show it; 0: they do not yet"),
    "coldStart": ("s", "from asking for a replica to its serving"),
    "hold": ("s", "stabilisation window: as long as the highest need is kept"),
    "window": ("s", "over which the work is averaged: short sees rushes, long hides chance"),
    "share": ("share", "of the fluctuation that is kept free in the stabilisation window"),
    "grain": ("s", "how large requests are, in seconds of a replica, as the fluctuation shows it"),
    "pressure": ("share", "of the engines in which requests waited, mean of about the last half minute"),
    "margin": ("factor", "on the need, above 1 after users waited for longer than spec.autoscaling.target"),
}
"""Unit and meaning of what a decision is made from (scaling/decide.py)."""


def why(body: Body, now: datetime, width: int | None) -> list[str]:
    """Return the lines for a terminal of `width` characters; None: a pipe."""
    metadata, told = body["metadata"], _told(body)
    title = click.style(f"{metadata.get('namespace', '')}/{metadata['name']}", bold=True)
    count = desired(body)
    lines = [f"{title}  {count} replica{'s' * (count != 1)} asked for", *_folded(ruler(body), width)]
    lines += _folded(_to_zero(body, count), width)
    for head, section in (
        ("Decided" + _ago(told.get("time"), now), _folded(_sentence(told), width)),
        ("From", _numbers(told, width)),
        ("Signals", _signals(body, now, width)),
        ("Changes, the newest first", _changes(told, now, width)),
    ):
        if section:
            lines += ["", click.style(head, bold=True), *section]
    return lines


def plain(body: Body) -> dict[str, Any]:
    """Return the same as data."""
    metadata = body["metadata"]
    return {
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "desired": desired(body),
        "bounds": bounds(body),
        "ruler": ruler(body),
        "autoscaling": dict(_told(body)) or None,
        "condition": _condition(body),
    }


def ruler(body: Body) -> str:
    """Say in a sentence who decides how many replicas there are."""
    limits, told = bounds(body), _told(body)
    if limits is not None:
        few, many = limits
        begun = "" if told else "; the operator has not looked at it yet"
        return f"the demand rules, between {few} and {many} (spec.autoscaling); spec.replicas is not followed{begun}"
    if told:
        asked = (body.get("spec") or {}).get("replicas", 1)
        return f"spec.replicas rules: {asked}; to be reached in steps, since spec.autoscaling was left out under load"
    manager, scaled, time = _writer(body)
    rules = f"spec.replicas rules: {desired(body)}"
    if scaled:
        by = f", written by {manager}{time} by the scale subresource (an HPA, KEDA or kubectl scale)"
        return f"{rules}{by}; the operator follows it"
    by = f", written by {manager}{time}" if manager else ""
    return f"{rules}{by}; with spec.autoscaling the demand would (examples/llama-8b-autoscaled.yaml)"


def _to_zero(body: Body, count: int) -> str:
    """Say what has to happen until zero, where zero is allowed and not there: silences that are too short cost most."""
    limits = bounds(body)
    if limits is None or limits[0] or not count:
        return ""
    wish = ((body.get("spec") or {}).get("autoscaling") or {}).get("scaleToZero") or {}
    after = wish.get("afterSeconds", ScaleToZeroSpec().after_seconds)
    return (
        f"it goes to zero after {after} s without any request (scaleToZero.afterSeconds); where requests come "
        "more often than that, a replica always stays"
    )


def _writer(body: Body) -> tuple[str, bool, str]:
    """Return which field manager has written spec.replicas last, whether by the scale subresource, and when."""
    found: list[tuple[str, str, bool]] = []
    for entry in body["metadata"].get("managedFields") or ():
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {}):
            scaled = entry.get("subresource") == "scale"
            found.append((str(entry.get("time") or ""), str(entry.get("manager") or "somebody"), scaled))
    if not found:
        return "", False, ""
    time, manager, scaled = max(found)
    return manager, scaled, f" at {time}" if time else ""


def _told(body: Body) -> Mapping[str, Any]:
    told: Mapping[str, Any] = (body.get("status") or {}).get("autoscaling") or {}
    if bounds(body) is None and told.get("reason") != TURNED_OFF:
        return {}  # what was decided before it was turned off rules nothing
    return told


def _condition(body: Body) -> Mapping[str, Any] | None:
    entries = (body.get("status") or {}).get("conditions") or ()
    return next((entry for entry in entries if entry["type"] == "Autoscaled"), None)


def _sentence(told: Mapping[str, Any]) -> str:
    return f"{told['reason']}: {told.get('message', '')}" if told else ""


def _numbers(told: Mapping[str, Any], width: int | None) -> list[str]:
    said = told.get("numbers") or {}
    order = [*(name for name in NUMBERS if name in said), *sorted(set(said) - set(NUMBERS))]
    values = {name: f"{said[name]:.10g}" for name in order}
    widest = max(map(len, ["VALUE", *values.values()]))
    rows: list[list[str | Cell]] = [
        [name, f"{value:>{widest}}", *NUMBERS.get(name, ("", ""))] for name, value in values.items()
    ]
    columns = [Column("NUMBER"), Column("VALUE"), Column("UNIT"), Column("MEANS", gives_way=1)]
    return lay_out(columns, rows, width, 2) if rows else []


def _signals(body: Body, now: datetime, width: int | None) -> list[str]:
    """Return what the condition Autoscaled says: whether the routers can be read, above all."""
    found = _condition(body)
    if found is None or not (bounds(body) or _told(body)):
        return []
    status = str(found["status"])
    colour = {"True": "green", "False": "red"}.get(status, "yellow")
    since = age(str(found.get("lastTransitionTime") or ""), now)
    message = str(found.get("message", ""))
    if message and message == _told(body).get("message"):
        message = "(as decided above)"
    row: list[str | Cell] = [Cell(status, colour), since, str(found.get("reason", "")), message]
    columns = [Column("AUTOSCALED"), Column("SINCE", gives_way=1), Column("REASON"), Column("MESSAGE")]
    return lay_out(columns, [row], width, 2)


def _changes(told: Mapping[str, Any], now: datetime, width: int | None) -> list[str]:
    rows: list[list[str | Cell]] = []
    for each in told.get("changes") or ():
        old, new = int(each["fromReplicas"]), int(each["toReplicas"])
        move = Cell(f"{old} -> {new}", "green" if new > old else "yellow")
        time = str(each["time"])
        rows.append([time, age(time, now), move, str(each["reason"]), str(each.get("message", ""))])
    columns = [Column("TIME", gives_way=2), Column("AGE"), Column("REPLICAS"), Column("REASON", gives_way=1)]
    return lay_out([*columns, Column("MESSAGE")], rows, width, 2) if rows else []


def _ago(time: Any, now: datetime) -> str:
    return f" {age(str(time), now)} ago" if time else ""


def _folded(text: str, width: int | None) -> list[str]:
    return list(_indented([text] if width is None else fold(text, width - 2))) if text else []


def _indented(lines: list[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
