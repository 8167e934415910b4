"""LoRA adapters of a replica: which to load, replace or unload next, and what to tell of each. Pure.

adapters_keeper.py looks (at the list, the files of every rank, and vLLM), asks here, and does it. An adapter is loaded
when every rank has it: vLLM reads it on all of them. What vLLM itself lists is the truth; what spec.engine.args loaded
is not ours, and is never unloaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manta_runtime.models.adapters_list import AdapterList, WantedAdapter

CopyState = Literal["has", "fetching", "failed", "missing"]
Action = Literal["load", "replace", "unload"]
AdapterState = Literal["Loaded", "Loading", "Fetching", "Waiting", "Failed", "Unloading"]

_COPY_STATES: dict[str, CopyState] = {state: state for state in get_args(CopyState)}
_FIRST_SECONDS = 10.0
_LONGEST_SECONDS = 600.0
_MOST_COPIES = 100
_LONGEST_TEXT = 200
_LONGEST_KEY = 200
TRIAL = ".manta-trial"
"""A new revision is loaded under its name with this at its end first: a bad one must not cost the one that serves."""


@dataclass(frozen=True)
class Copy:
    """What one rank has of an adapter; `revision`: its commit, or the hash of its files, "" for a mounted one."""

    state: CopyState
    revision: str = ""
    message: str = ""
    bytes: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class Attempt:
    """Failed tries in a row to load `key` under a name, or to unload it from the path `key`.

    No further one before `again` (monotonic seconds).
    """

    key: str
    count: int
    again: float
    message: str


@dataclass(frozen=True)
class Step:
    """One thing to ask of vLLM; `old` is the path that a replaced adapter was loaded from; `key`: of its attempts."""

    action: Action
    name: str
    path: str = ""
    key: str = ""
    old: str = ""


@dataclass(frozen=True)
class View:
    """Everything that is known.

    `ranks`: the copies that each rank tells of, by key. `listed`: name → path of vLLM's adapters. `ours`: name → path
    of those that this launcher loaded. `attempts`: by name. `doing`: what is being asked of vLLM now.
    """

    wanted: AdapterList
    ranks: Mapping[int, Mapping[str, Copy]]
    listed: Mapping[str, str]
    ours: Mapping[str, str] = field(default_factory=dict)
    attempts: Mapping[str, Attempt] = field(default_factory=dict)
    doing: Step | None = None


@dataclass(frozen=True)
class Seen:
    """What to tell of one adapter; sizes in bytes while it is fetched."""

    name: str
    uri: str
    revision: str
    state: AdapterState
    message: str = ""
    bytes: int | None = None
    total: int | None = None


def decide(view: View, now: float) -> Step | None:
    """Return what to ask of vLLM next: nothing that waits for its time, for a rank, or for a change."""
    wanted = {adapter.name for adapter in view.wanted.adapters}
    for name, path in view.listed.items():
        if name in wanted or not (name.endswith(TRIAL) or view.ours.get(name) == path):
            continue
        step = Step("unload", name, path, path)
        if not _is_too_early(view, name, step.key, now):
            return step
    for adapter in view.wanted.adapters:
        path, listed = str(adapter.path), view.listed.get(adapter.name)
        if listed == path or _blocked(view, adapter) or _is_too_early(view, adapter.name, adapter.key, now):
            continue
        if listed is None:
            return Step("load", adapter.name, path, adapter.key)
        if view.ours.get(adapter.name) == listed:
            return Step("replace", adapter.name, path, adapter.key, old=listed)
    return None


def look_at(view: View) -> tuple[Seen, ...]:
    """Return the state of every wanted adapter in the list's order, then of those that are on their way out."""
    wanted = {adapter.name for adapter in view.wanted.adapters}
    leaving = (
        Seen(name, "", "", "Unloading", _why_not_unloaded(view, name, path))
        for name, path in view.listed.items()
        if name not in wanted and view.ours.get(name) == path
    )
    return (*(_look_at_one(view, adapter) for adapter in view.wanted.adapters), *leaving)


def is_settled(view: View) -> bool:
    """Say whether each wanted adapter is loaded, or has failed: nobody need wait for anything."""
    return all(seen.state in ("Loaded", "Failed") for seen in look_at(view) if seen.state != "Unloading")


def after_failure(before: Attempt | None, key: str, message: str, now: float) -> Attempt:
    """Return the try counted: 10 s until the next one, twice as long after each further one, 600 s at most."""
    count = before.count + 1 if before and before.key == key else 1
    return Attempt(key, count, now + min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(count - 1, 10)), message)


def copies_json(copies: Mapping[str, Copy]) -> dict[str, Any]:
    """Return what a worker tells its head of its copies."""
    return {
        key: {"state": copy.state, "revision": copy.revision, "message": copy.message[:_LONGEST_TEXT]}
        for key, copy in copies.items()
    }


def parse_copies(data: object) -> dict[str, Copy] | str:
    """Read what a worker tells, or return what is wrong with it."""
    if not isinstance(data, dict) or len(data) > _MOST_COPIES:
        return f"adapters must be an object of at most {_MOST_COPIES} keys"
    found: dict[str, Copy] = {}
    for key, entry in data.items():
        state = _COPY_STATES.get(str(entry.get("state"))) if isinstance(entry, dict) else None
        texts = [entry.get(name, "") for name in ("revision", "message")] if state else []
        if state is None or len(key) > _LONGEST_KEY or not all(isinstance(text, str) for text in texts):
            return f"adapters.{key[:80]} must have a state ({', '.join(_COPY_STATES)}), a revision and a message"
        revision, message = (text[:_LONGEST_TEXT] for text in texts)
        found[key] = Copy(state, revision, message)
    return found


def _look_at_one(view: View, adapter: WantedAdapter) -> Seen:
    listed, attempt = view.listed.get(adapter.name), view.attempts.get(adapter.name)
    before = f"; {adapter.name} of before still answers" if listed and view.ours.get(adapter.name) == listed else ""

    def seen(state: AdapterState, message: str = "", copy: Copy | None = None) -> Seen:
        sizes = (copy.bytes, copy.total) if copy else (None, None)
        return Seen(adapter.name, adapter.uri, adapter.revision, state, message + (before if message else ""), *sizes)

    if listed == str(adapter.path):
        return Seen(adapter.name, adapter.uri, adapter.revision, "Loaded")
    if blocked := _blocked(view, adapter):
        return seen(*blocked)
    if listed and not before:
        return seen("Failed", f"the engine has another adapter of this name, from {listed}: see spec.engine.args")
    # One that fails again and again stays Failed while it is tried.
    if attempt and attempt.key == adapter.key:
        return seen("Failed", attempt.message)
    doing = view.doing is not None and view.doing.name == adapter.name
    return seen("Loading" if doing else "Waiting", "" if doing else "every rank has it; it is loaded next")


def _why_not_unloaded(view: View, name: str, path: str) -> str:
    attempt = view.attempts.get(name)
    return f"vLLM does not unload it: {attempt.message}" if attempt and attempt.key == path else ""


def _blocked(view: View, adapter: WantedAdapter) -> tuple[AdapterState, str, Copy | None] | None:
    """Return why an adapter cannot be loaded yet, None when every rank has the same files of it."""
    copies = {rank: found.get(adapter.key, Copy("missing")) for rank, found in sorted(view.ranks.items())}
    of_one = len(copies) == 1
    for rank, copy in copies.items():
        if copy.state == "failed":
            return "Failed", copy.message if of_one else f"rank {rank}: {copy.message}", None
    for rank, copy in copies.items():
        if copy.state == "fetching":
            words = copy.message or "it is being fetched"
            return "Fetching", words if of_one else f"rank {rank}: {words}", copy
    missing = [str(rank) for rank, copy in copies.items() if copy.state == "missing"]
    if missing:
        where = "this pod" if of_one else f"rank {', '.join(missing)}"
        return "Waiting", f"{where} has said nothing of it yet: its fetch may not have begun", None
    first = copies.get(0, Copy("has"))
    for rank, copy in copies.items():
        if copy.revision != first.revision:
            return (
                "Failed",
                f"rank {rank} has {copy.revision or 'files of its own'}, rank 0 has {first.revision or 'others'}: give "
                "the adapter a revision that is a commit, and remove the older one from the cache",
                None,
            )
    return None


def _is_too_early(view: View, name: str, key: str, now: float) -> bool:
    attempt = view.attempts.get(name)
    return attempt is not None and attempt.key == key and now < attempt.again
