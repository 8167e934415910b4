"""What one tenant has spent in the last minute and has running, here and at other routers. Pure; part of `limits.py`.

Also what routers tell each other about it once a second (`GET :pickerPort/usage`, fetched by `peers.py`).
"""

from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from manta_runtime.router.picker.window import Ages, Window

_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class Spent(msgspec.Struct, forbid_unknown_fields=True):
    """One tenant's spending at one router: what it has running, and what it spent by age in seconds (`window.Ages`)."""

    running: _Count = 0
    requests: list[_Count] = []
    tokens: list[_Count] = []


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
    """One tenant's. `running` is ours, `others` what other routers have running; `until`: when to advance again."""

    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)
    running: int = 0
    others: int = 0
    until: int = 0

    def advance(self, second: int) -> None:
        """Let time go on."""
        self.requests.advance(second)
        self.tokens.advance(second)
        self.until = second + 1

    @property
    def idle(self) -> bool:
        """Whether forgetting it loses nothing."""
        return not (self.running or self.others or self.requests.total or self.tokens.total)

    def told(self) -> Spent:
        """Our part of it, for other routers."""
        return Spent(self.running, self.requests.told(), self.tokens.told())


@dataclass(slots=True)
class Peer:
    """What another router last told, by age as of `second` of our clock."""

    heard: float = 0.0
    second: int = 0
    tenants: dict[str, Spent] = field(default_factory=dict)

    def aged(self, tenant: str, second: int) -> Spent:
        """What it told of the tenant, by age as of a later second; nothing if it told nothing."""
        spent = self.tenants.get(tenant)
        if spent is None:
            return Spent()
        past = [0] * (second - self.second)
        return Spent(spent.running, past + spent.requests, past + spent.tokens)


def by_our_clock(ages: Ages, fraction: float, now: float) -> Ages:
    """What another router spent, by age in seconds of our clock, never older than it is.

    Its amount of age a was spent until a - 1 + fraction ago, which is in our second of age a or a - 1.
    """
    if now - int(now) < fraction or len(ages) < 2:
        return ages
    return [ages[0] + ages[1], *ages[2:]]
