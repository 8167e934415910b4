"""What a Decider (`decide.py`) works with, and what it writes down for a request's end."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from manta_runtime.router.cache.response_cache import ResponseCache
from manta_runtime.router.config import RouterConfig
from manta_runtime.router.membership import Members
from manta_runtime.router.picker.access import Access
from manta_runtime.router.picker.chooser import Chooser
from manta_runtime.router.picker.demand import Demand
from manta_runtime.router.picker.ledger import Ledger
from manta_runtime.router.picker.limits import Charge
from manta_runtime.router.picker.metrics import Metrics
from manta_runtime.router.picker.models_list import ModelsList
from manta_runtime.router.picker.request import Request


@dataclass(frozen=True)
class Parts:
    """The picker's parts. `eject(replica)`: a connection to it failed; `doubt(replica)`: perhaps one did.

    `waits()`: a request has found no room.
    """

    config: RouterConfig
    members: Members
    ledger: Ledger
    chooser: Chooser
    access: Access
    models: ModelsList
    metrics: Metrics
    demand: Demand
    eject: Callable[[str], None]
    doubt: Callable[[str], None]
    waits: Callable[[], None]
    cache: ResponseCache | None = None
    clock: Callable[[], float] = time.monotonic


class Bill(msgspec.Struct, gc=False):
    """What is to be settled when a request ends. `counted`: tokens that count in the share of `replica`."""

    tenant: str
    request: Request
    charge: Charge | None
    replica: str
    counted: int
