"""What `ledger.py` keeps: an account for each replica, and in it the requests in flight there. Pure."""

import math
from dataclasses import dataclass, field
from typing import Any

import msgspec

from manta_runtime.router.picker import saturation
from manta_runtime.router.picker.saturation import UNKNOWN, Learned
from manta_runtime.router.picker.scrape import Look


class Placed(msgspec.Struct, gc=False):
    """One request in flight, at `replica` ("": one that is gone). `tried`: ip:port in the order in which Envoy tries.

    `ahead`: pending before it came. `bill`: whatever the caller has to settle at the end.
    """

    request: str
    replica: str
    at: float
    tried: tuple[str, ...]
    work: int
    ahead: int
    stream: bool
    bill: Any
    pending: bool


@dataclass(slots=True)
class Account:
    """One replica's, while it exists."""

    name: str
    open: dict[str, Placed] = field(default_factory=dict)
    foreign: int = 0
    last_pick: int = 0
    pending: int = 0
    rate: float = 0.0
    learned: Learned = UNKNOWN
    look: Look = field(default_factory=Look)
    looked_at: float = 0.0
    ends: int = 0
    end_rate: float = 0.0
    adapters: frozenset[str] | None = None
    most: int = 0  # requests it runs at once, 0 if unknown
    full_at: float = math.inf  # the load from which on it has enough
    place: int = -1  # among the candidates; -1: not usable
    changed: bool = False  # its candidate is no longer true

    def judge(self, max_num_seqs: int) -> None:
        """How much it runs, after news of it; `max_num_seqs` of one engine core, 0 if unknown."""
        self.most = saturation.limit(self.learned, max_num_seqs * self.look.cores)
        self.full_at = saturation.full_at(self.most, self.end_rate)
