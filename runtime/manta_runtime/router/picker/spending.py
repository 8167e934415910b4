"""What one tenant has spent in the last minute and has running, here and at other routers. Pure; part of `limits.py`.

Also what routers tell each other about it once a second (`GET :pickerPort/usage`, fetched by `peers.py`).
"""

import math
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from manta_runtime.router.picker.window import SECONDS, Buckets, Window

_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
_Told = list[tuple[_Count, _Count]]


class Spent(msgspec.Struct, forbid_unknown_fields=True):
    """One tenant's spending at one router: what it has running, and what it spent by age in seconds."""

    running: _Count = 0
    requests: _Told = []
    tokens: _Told = []


class Usage(msgspec.Struct, forbid_unknown_fields=True):
    """What one router tells others.

    `instance` is another one after each start; `fraction` is how far its current second has gone, so that ages fit
    between clocks that have nothing in common.
    """

    instance: str
    fraction: Annotated[float, msgspec.Meta(ge=0, lt=1)]
    tenants: dict[str, Spent] = {}


@dataclass(slots=True)
class Account:
    """One tenant's. `running` is ours, `others` what other routers have running."""

    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)
    running: int = 0
    others: int = 0

    def advance(self, second: int) -> None:
        """Let time go on."""
        self.requests.advance(second)
        self.tokens.advance(second)

    @property
    def idle(self) -> bool:
        """Whether forgetting it loses nothing."""
        return not (self.running or self.others or self.requests.total or self.tokens.total)

    def told(self) -> Spent:
        """Our part of it, for other routers."""
        return Spent(self.running, self.requests.buckets(), self.tokens.buckets())


@dataclass(slots=True)
class Peer:
    """What another router last told, already in seconds of our clock, so that it can be taken back exactly."""

    heard: float
    tenants: dict[str, Spent] = field(default_factory=dict)


def placed(buckets: Buckets, fraction: float, now: float) -> Buckets:
    """The buckets of another router by seconds of our clock, never earlier than it was spent.

    Its bucket of age a ended a - 1 + fraction ago (the one of age 0 is not over yet).
    """
    second = int(now)
    return [(min(second, math.floor(now - fraction - age + 1)), amount) for age, amount in buckets if age <= SECONDS]


def taken_back(buckets: Buckets) -> Buckets:
    """What undoes adding them."""
    return [(second, -amount) for second, amount in buckets]
