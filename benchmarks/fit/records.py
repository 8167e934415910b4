"""Read the start-ups: one JSON object a line, of which any field may be missing. The first step of `main.py`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Version = tuple[int, int]

UNTOLD: Version = (0, 24)
"""Where neither the record nor its notes name a version: the middle of those since the budget has CUDA graphs."""
BEFORE_UNTOLD: Version = (0, 19)
"""The same where the default utilisation was still 0.90."""
_V0: Version = (0, 7)
_VERSION = re.compile(r"(\d+)\.(\d+)")
_IN_NOTES = re.compile(r"~\s*(0\.\d+)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = re.compile(rf"({'|'.join(_MONTHS)})-?\s*(20\d\d)")


class RecordsError(Exception):
    """A file cannot be read; the message says which and why."""


@dataclass(frozen=True)
class Record:
    """One start-up. Sizes are GiB of one GPU; None where it was not logged or not told."""

    id: str
    model: str
    gpu: str
    version: Version
    tp: int
    pp: int
    dtype: str
    quantization: str | None
    kv_dtype: str
    length: int | None
    utilization: float | None
    requests: int | None
    step_tokens: int | None
    eager: bool
    weights: float | None
    kv: float | None
    tokens: int | None
    concurrency: float | None
    total: float | None
    failed: bool
    failure: str
    notes: str


def read(path: Path) -> list[Record]:
    """Return the start-ups of a file. Raises RecordsError where it cannot be read or a line is no JSON object."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise RecordsError(f"{path}: {error.strerror}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except ValueError as error:
            raise RecordsError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(said, dict):
            raise RecordsError(f"{path}:{number}: not a JSON object")
        found.append(_record(said, number))
    return found


def _record(said: Mapping[str, Any], number: int) -> Record:
    utilization = _float(said, "gpu_memory_utilization")
    return Record(
        id=str(said.get("id") or f"line {number}"),
        model=str(said.get("model") or ""),
        gpu=str(said.get("gpu") or ""),
        version=version_of(said),
        tp=_integer(said, "tp") or 1,
        pp=_integer(said, "pp") or 1,
        dtype=str(said.get("dtype") or "auto"),
        quantization=None if said.get("quantization") is None else str(said["quantization"]),
        kv_dtype=_cache_type(said),
        length=_integer(said, "max_model_len"),
        utilization=utilization,
        requests=_integer(said, "max_num_seqs"),
        step_tokens=_integer(said, "max_num_batched_tokens"),
        eager=said.get("enforce_eager") is True,
        weights=_float(said, "weights_gib_per_gpu"),
        kv=_float(said, "kv_cache_gib_per_gpu"),
        tokens=_integer(said, "kv_cache_tokens"),
        concurrency=_float(said, "max_concurrency"),
        total=_float(said, "gpu_total_gib"),
        failed=said.get("oom") is True or bool(said.get("failure")),
        failure=str(said.get("failure") or ""),
        notes=str(said.get("notes") or ""),
    )


def _cache_type(said: Mapping[str, Any]) -> str:
    """The type of the cache; where it was not recorded, what the notes conclude from the log ("fp8 KV")."""
    if said.get("kv_cache_dtype"):
        return str(said["kv_cache_dtype"])
    return "fp8" if "fp8 KV" in str(said.get("notes") or "") else "auto"


def version_of(said: Mapping[str, Any]) -> Version:
    """Return the version of vLLM: as it is said, by the month it was built, from the notes, or by the defaults."""
    text, notes = str(said.get("vllm_version") or ""), str(said.get("notes") or "")
    numbers = _VERSION.search(text) or (None if text else _IN_NOTES.search(notes))
    if numbers:
        major, minor = numbers.group().removeprefix("~").strip().split(".")[:2]
        return int(major), int(minor)
    if str(said.get("engine") or "").upper() == "V0" or text.startswith("V0"):
        return _V0
    if month := _MONTH.search(text):
        return _of_month(int(month.group(2)), _MONTHS.index(month.group(1)) + 1)
    return BEFORE_UNTOLD if not said.get("util_explicit") and said.get("gpu_memory_utilization") == 0.9 else UNTOLD


def _of_month(year: int, month: int) -> Version:
    """About one minor version a month: 0.7 in January and 0.10 in July 2025, 0.14 in January 2026."""
    months = 12 * (year - 2025) + month - 1
    return 0, max(6, 7 + months * 7 // 12)


def _float(said: Mapping[str, Any], key: str) -> float | None:
    value = said.get(key)
    return None if isinstance(value, bool) or not isinstance(value, (int, float)) else float(value)


def _integer(said: Mapping[str, Any], key: str) -> int | None:
    value = _float(said, key)
    return None if value is None or value < 1 else int(value)
