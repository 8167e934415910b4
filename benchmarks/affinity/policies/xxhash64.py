"""XXH64, the hash KubeAI places prefixes and engines with. Pure Python, for short inputs.

Written from the specification (github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
"""

from __future__ import annotations

_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_MASK = (1 << 64) - 1


def xxhash64(data: bytes) -> int:
    """Return the 64-bit hash of `data` with seed 0."""
    at, end = 0, len(data)
    if end >= 32:
        lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        while at + 32 <= end:
            for lane in range(4):
                lanes[lane] = _round(lanes[lane], _read(data, at + 8 * lane, 8))
            at += 32
        total = sum(_rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        for lane in lanes:
            total = ((total ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        total = _P5
    total = (total + end) & _MASK
    while at + 8 <= end:
        total = (_rotate(total ^ _round(0, _read(data, at, 8)), 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= end:
        total = (_rotate(total ^ (_read(data, at, 4) * _P1) & _MASK, 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        total = (_rotate(total ^ (byte * _P5) & _MASK, 11) * _P1) & _MASK
    return _avalanche(total)


def _avalanche(total: int) -> int:
    total = ((total ^ (total >> 33)) * _P2) & _MASK
    total = ((total ^ (total >> 29)) * _P3) & _MASK
    return total ^ (total >> 32)


def _round(lane: int, word: int) -> int:
    return (_rotate((lane + word * _P2) & _MASK, 31) * _P1) & _MASK


def _rotate(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (64 - bits))) & _MASK


def _read(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
