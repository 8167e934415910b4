"""Loopback addresses of a box: which box we are, the pods' addresses and the Services'.

`box.py` claims a number here first; the kubelet then takes pod addresses, the API server those of Services.
"""

import errno
import socket
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from manta_operator.box.holders import holder

API_PORTS = (6443, 16443, 26443, 36443)
MAX_BOXES = 250
_NOBODYS = "127.1.255.1"  # no box has it: who holds a port here holds it on all addresses


class AddressesExhausted(RuntimeError):
    """Every address of a pool, or every box number, is in use."""


class BoxClaim(NamedTuple):
    """Box number `number` is ours for as long as `listener` stays open: the bind is the claim."""

    number: int
    listener: socket.socket
    port: int

    @property
    def address(self) -> str:
        """The node's own address, on which the API server listens."""
        return f"127.1.{self.number}.1"


def claim_box(ports: Sequence[int] = API_PORTS) -> BoxClaim:
    """Claim the smallest free box number by listening on 127.1.<number>.1.

    The port is the first of `ports` that no program (a k3s, say) holds on all addresses of the machine.
    Raises AddressesExhausted if all are taken, OSError if this machine cannot bind to 127.1.x.y at all.
    """
    usable = _usable(ports)
    if not usable:
        names = "; ".join(f"{port} by {holder((_NOBODYS, port))}" for port in ports)
        raise AddressesExhausted(f"no port is left for the API server, all are held ({names}): stop one of these")
    for number in range(1, MAX_BOXES + 1):
        claim = _claim(number, usable)
        if claim is not None:
            return claim
    raise AddressesExhausted(
        f"all {MAX_BOXES} box numbers are taken (port {usable[0]} on 127.1.1.1 to 127.1.{MAX_BOXES}.1): "
        "stop one with `manta down`"
    )


def claim_number(number: int, ports: Sequence[int] = API_PORTS) -> BoxClaim | None:
    """Claim this very number; None while a box has it, or if no port is left. OSError as `claim_box`."""
    usable = _usable(ports)
    return _claim(number, usable) if usable else None


def _usable(ports: Sequence[int]) -> list[int]:
    """Return the ports nobody holds on all addresses; while one is held so, no box can have it."""
    return [port for port in ports if not _held(_NOBODYS, port)]


def _claim(number: int, usable: Sequence[int]) -> BoxClaim | None:
    listener = _bound(f"127.1.{number}.1", usable[0])
    if listener is None:
        return None
    try:
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    listener.setblocking(False)
    claim = BoxClaim(number, listener, usable[0])
    # A box that began while its port was another has the number too. Looked for last: of two at once one must see.
    if any(_held(claim.address, port) for port in usable[1:]):
        listener.close()
        return None
    return claim


def _held(host: str, port: int) -> bool:
    probe = _bound(host, port)
    if probe is not None:
        probe.close()
    return probe is None


def _bound(host: str, port: int) -> socket.socket | None:
    """Return a socket bound there; None if somebody listens there. Those that are only bound do not disturb others."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Without SO_REUSEADDR a box that just ended would hold its number for a minute (TIME_WAIT).
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return bound


class AddressPool:
    """Addresses `prefix`.`first` to `prefix`.254; the one released longest ago is given out first.

    Late reuse matters: peers may still hold connections to, or resolve the name of, a pod that is gone.
    """

    def __init__(self, prefix: str, first: int) -> None:
        self._free = deque(f"{prefix}.{host}" for host in range(first, 255))
        self._used: set[str] = set()
        self._range = f"{prefix}.{first}-254"

    @classmethod
    def for_pods(cls, box: int) -> "AddressPool":
        """127.1.<box>.2 to .254 (.1 is the node itself)."""
        return cls(f"127.1.{box}", 2)

    @classmethod
    def for_services(cls, box: int) -> "AddressPool":
        """127.2.<box>.1 to .254."""
        return cls(f"127.2.{box}", 1)

    def allocate(self) -> str:
        """Take an address; AddressesExhausted when none is left."""
        if not self._free:
            raise AddressesExhausted(f"all addresses of {self._range} are in use: delete pods or Services")
        address = self._free.popleft()
        self._used.add(address)
        return address

    def claim(self, address: str) -> bool:
        """Take this very address (a Service may ask for its clusterIP); False if it is taken or not of this pool."""
        if address not in self._free:
            return False
        self._free.remove(address)
        self._used.add(address)
        return True

    def release(self, address: str) -> None:
        """Give an address back; one that is not in use is ignored."""
        if address in self._used:
            self._used.remove(address)
            self._free.append(address)
