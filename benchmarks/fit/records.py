"""Read the start-ups: one JSON object a line, of which any field may be missing. The first step of `main.py`.

Other people's files say numbers as words ("8", "0.90") and flags as "True". What is no number at all is left out of the
record and named in `Record.unread`, so that nothing is dropped without a word.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Version = tuple[int, int]

UNTOLD: Version = (0, 24)
"""Where neither the record nor its notes name a version: the middle of those since the budget has CUDA graphs."""
BEFORE_UNTOLD: Version = (0, 19)
"""The same where the default utilisation was still 0.90."""
_V0: Version = (0, 7)
_LARGEST = 2**53
"""Above it a float has no whole numbers any more, and nothing that is counted here is as large."""
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "none": False, "": False}
_UNIT = re.compile(r"\s*(?:%|GiB|x)?\s*$", re.IGNORECASE)
_TIMES = re.compile(r"^\s*(\d{1,4})\s*[x\u00d7]\s*|\s+[x\u00d7]\s*(\d{1,4})\s*$", re.IGNORECASE)
_VERSION = re.compile(r"(\d+)\.(\d+)")
_IN_NOTES = re.compile(r"~\s*(0\.\d+)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = re.compile(rf"({'|'.join(_MONTHS)})-?\s*(20\d\d)")


class RecordsError(Exception):
    """A file cannot be read; the message says which and why."""


@dataclass(frozen=True)
class Record:
    """One start-up. Sizes are GiB of one GPU; None where it was not logged or not told.

    `unread` names the fields that say something which is not what they should be, with what they say.
    """

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
    unread: tuple[str, ...] = ()


def read(path: Path) -> list[Record]:
    """Return the start-ups of a file. Raises RecordsError where it cannot be read or a line is no JSON object."""
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except OSError as error:
        raise RecordsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RecordsError(f"{path}: not UTF-8: {error}") from error
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
    fields = _Fields(said)
    stages = fields.count("pp") or 1
    gpu, counted = _gpu(str(said.get("gpu") or ""))
    return Record(
        id=str(said.get("id") or f"line {number}"),
        model=str(said.get("model") or ""),
        gpu=gpu,
        version=version_of(said),
        tp=fields.count("tp") or max(1, (fields.count("gpu_count") or counted) // stages),
        pp=stages,
        dtype=str(said.get("dtype") or "auto"),
        quantization=None if said.get("quantization") is None else str(said["quantization"]),
        kv_dtype=_cache_type(said),
        length=fields.count("max_model_len"),
        utilization=fields.share("gpu_memory_utilization"),
        requests=fields.count("max_num_seqs"),
        step_tokens=fields.count("max_num_batched_tokens"),
        eager=fields.flag("enforce_eager"),
        weights=fields.size("weights_gib_per_gpu"),
        kv=fields.size("kv_cache_gib_per_gpu"),
        tokens=fields.count("kv_cache_tokens"),
        concurrency=fields.size("max_concurrency"),
        total=fields.size("gpu_total_gib"),
        failed=fields.flag("oom") or bool(said.get("failure")),
        failure=str(said.get("failure") or ""),
        notes=str(said.get("notes") or ""),
        unread=tuple(fields.unread),
    )


def _gpu(said: str) -> tuple[str, int]:
    """The name of a GPU without how many there are ("8x H100", "H200 x8"), and that number; 1 where none is said."""
    found = _TIMES.search(said)
    if found is None or " + " in said:
        return said, 1
    return _TIMES.sub("", said).strip(), int(found.group(1) or found.group(2))


class _Fields:
    """Numbers and flags of one line, however they are written; collects what is neither."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said
        self.unread: list[str] = []

    def size(self, key: str) -> float | None:
        """Return a number above 0."""
        return self._where(key, lambda value: value > 0)

    def count(self, key: str) -> int | None:
        """Return a whole number from 1 on; 0 is for nothing said, as in `max_num_seqs: 0`."""
        if self._said.get(key) in (0, "0"):
            return None
        value = self._where(key, lambda value: value >= 1 and value.is_integer())
        return None if value is None else int(value)

    def share(self, key: str) -> float | None:
        """Return a share of a whole; above 1 it was said in percent."""
        value = self._where(key, lambda value: 0 < value <= 100)
        return value if value is None or value <= 1 else value / 100

    def flag(self, key: str) -> bool:
        """Return whether something is said to be so."""
        value = self._said.get(key)
        known = _FLAGS.get(str(value).strip().lower()) if isinstance(value, str | int | float) else None
        if known is None and value is not None:
            self._refuse(key)
        return known is True

    def _where(self, key: str, sound: Callable[[float], bool]) -> float | None:
        value = number_of(self._said.get(key))
        if value is not None and sound(value):
            return value
        if self._said.get(key) not in (None, ""):
            self._refuse(key)
        return None

    def _refuse(self, key: str) -> None:
        self.unread.append(f"{key}: {json.dumps(self._said[key])[:40]}")


def number_of(value: object) -> float | None:
    """Return a finite number below 2^53, also of text ("8,192", "71.2 GiB", "3.5x", "90 %"); None of all else."""
    if isinstance(value, str):
        text = _UNIT.sub("", value).replace(",", "")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        text = str(value)
    else:
        return None
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) and abs(found) < _LARGEST else None


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
    explicit = str(said.get("util_explicit") or False).lower() not in ("false", "0", "no", "none", "null")
    usual = number_of(said.get("gpu_memory_utilization")) == 0.9
    return BEFORE_UNTOLD if usual and not explicit else UNTOLD


def _of_month(year: int, month: int) -> Version:
    """About one minor version a month: 0.7 in January and 0.10 in July 2025, 0.14 in January 2026."""
    months = 12 * (year - 2025) + month - 1
    return 0, max(6, 7 + months * 7 // 12)
