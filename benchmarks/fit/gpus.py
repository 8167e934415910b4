"""Which accelerator a record means, by any of the names that people give it. The second step of `main.py`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fit.records import number_of
from manta_operator.facts.accelerators import Accelerator, catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fit.records import Record

_GIB = 2**30
_VISIBLE = 0.987
"""What torch sees of what nvidia-smi shows: 0.986 for A100-40 and RTX 5090, 0.996 for H200 (the file of GPUs)."""
_OF_NOMINAL = 0.97
"""What torch sees of the size on the box, where nothing better is known."""
_CAPABILITIES = {
    "ada": 89, "v100": 70, "t4": 75, "2080": 75, "a100": 80, "a800": 80, "a30": 80, "a10": 86, "a10g": 86, "a40": 86,
    "a6000": 86, "3090": 86, "3080": 86, "3070": 86, "3060": 86, "3050": 86, "l4": 89, "l40": 89, "l40s": 89,
    "4090": 89, "4080": 89, "4070": 89, "4060": 89, "h20": 90, "h100": 90, "h200": 90, "h800": 90, "gh200": 90,
    "b200": 100, "gb200": 100, "b300": 103, "gb300": 103, "5090": 120, "5090d": 120, "5080": 120, "5070": 120,
    "5060": 120, "6000": 120, "gb10": 121,
}  # fmt: skip
"""NVIDIA's compute capability x 10 (developer.nvidia.com/cuda-gpus)."""
_SIZES = (5, 6, 8, 12, 16, 24, 32, 40, 48, 64, 80, 94, 96, 141, 144, 180, 192, 256, 288)
_NVL = 94
"""GB of an H100 NVL, whose name does not say it."""
_WORD = re.compile(r"[a-z0-9]+")
_GIB_SAID = re.compile(r"(\d+\.\d+)\s*GiB", re.IGNORECASE)
_SM = re.compile(r"\bsm_?(\d{2,3})\b", re.IGNORECASE)
_MIB = re.compile(r"(\d{4,6})\s*MiB", re.IGNORECASE)


def find(record: Record, gpus: Mapping[str, Any]) -> Accelerator | str:
    """Return the accelerator of a record; why not, where nobody knows its memory.

    Of several kinds in one replica the smallest counts: vLLM takes the fewest blocks of all ranks.
    """
    if not record.gpu:
        return "the GPU is not told"
    found = [_one(name, record, gpus) for name in re.split(r"\s\+\s", record.gpu)]
    unknown = next((each for each in found if isinstance(each, str)), None)
    known = [each for each in found if not isinstance(each, str)]
    return unknown or min(known, key=lambda each: each.memory_bytes or 0)


def _one(name: str, record: Record, gpus: Mapping[str, Any]) -> Accelerator | str:
    words = set(_WORD.findall(name.partition("(")[0].lower()))
    total = record.total if " + " not in record.gpu else None
    total = total or _said(name) or _listed(words, gpus) or _written(name) or _listed(words, _ours())
    if total is None:
        return f"the memory of {name} is not known"
    rocm = any(re.fullmatch(r"mi\d{3}x?", word) for word in words)
    return Accelerator(
        type="-".join(_WORD.findall(name.lower())),
        resource="amd.com/gpu" if rocm else "nvidia.com/gpu",
        memory_bytes=int(total * _GIB),
        products=(),
        capability=_capability(name, words),
    )


def _capability(name: str, words: set[str]) -> int | None:
    """By the chip's name; else as it is said ("sm80")."""
    family, said = next((word for word in _CAPABILITIES if word in words), None), _SM.search(name)
    return _CAPABILITIES[family] if family else int(said.group(1)) if said else None


def _ours() -> dict[str, Any]:
    """Manta's own accelerators in the form of the file."""
    return {
        name: {"vllm_total_gib": [each.memory_bytes / _GIB]} for name, each in catalog().items() if each.memory_bytes
    }


def _said(name: str) -> float | None:
    """The memory that torch sees, where the name says it to the hundredth."""
    found = _GIB_SAID.search(name)
    return float(found.group(1)) if found else None


def _listed(words: set[str], gpus: Mapping[str, Any]) -> float | None:
    """The memory by the file: of the entries whose family the name has, the one of its size; None if it is open."""
    family, size = _family(words), _size(words)
    known = [(set(_WORD.findall(key.lower())), said) for key, said in gpus.items() if isinstance(said, dict)]
    fitting = [(key, said) for key, said in known if family and _family(key) == family]
    sized = [(key, said) for key, said in fitting if size and _size(key) == size]
    if not sized:
        sized = [(key, said) for key, said in fitting if not size or _size(key) is None]
    totals = {_total(said) for _, said in sized} - {None}
    if len({round(total or 0) for total in totals}) != 1:
        return None
    return max(total for total in totals if total is not None)


def _family(words: set[str]) -> frozenset[str]:
    """The words that name a chip: letters and digits, without sizes, forms and memories."""
    chips = {word for word in words if any(char.isdigit() for char in word) and _size({word}) is None}
    chips = {word for word in chips if not re.fullmatch(r"sxm\d?|hbm\d?e?|sm\d+|\d+mib|\d{5,}", word)}
    return frozenset(chips | (words & {"ti", "super", "ada"}))


def _size(words: set[str]) -> int | None:
    for word in words:
        digits = word.removesuffix("gb").removesuffix("gib").removesuffix("g")
        if digits.isdecimal() and int(digits) in _SIZES:
            return int(digits)
    return _NVL if words >= {"h100", "nvl"} else None


def _total(said: Mapping[str, Any]) -> float | None:
    memory = said.get("from_memory")
    for holder in (said, memory if isinstance(memory, dict) else {}):
        value = holder.get("vllm_total_gib")
        total = number_of(value[0] if isinstance(value, list) and value else value)
        if total and total > 0:
            return total
    smi = number_of(said.get("nvidia_smi_mib"))
    return smi / 1024 * _VISIBLE if smi and smi > 0 else None


def _written(name: str) -> float | None:
    """The memory that the name itself says."""
    if mib := _MIB.search(name):
        return int(mib.group(1)) / 1024 * _VISIBLE
    size = _size({word for word in _WORD.findall(name.lower()) if word.endswith(("gb", "gib"))})
    return None if size is None else size * _OF_NOMINAL
