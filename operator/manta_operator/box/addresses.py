"""Loopback addresses of a box: which box we are, the pods' addresses and the Services'.

`box.py` claims a number here first; the kubelet then takes pod addresses, the API server those of Services.
"""

import errno
import socket
from collections import deque
from typing import NamedTuple

API_PORT = 6443
MAX_BOXES = 250


class AddressesExhausted(RuntimeError):
    """Every address of a pool, or every box number, is in use."""


class BoxClaim(NamedTuple):
    """Box number `number` is ours for as long as `listener` stays open: the bind is the claim."""

    number: int
    listener: socket.socket

    @property
    def address(self) -> str:
        """The node's own address, on which the API server listens."""
        return f"127.1.{self.number}.1"


def claim_box(port: int = API_PORT) -> BoxClaim:
    """Claim the smallest free box number by listening on 127.1.<number>:<port>.

    Raises AddressesExhausted if all are taken, OSError if this machine cannot bind to 127.1.x.y at all.
    """
    for number in range(1, MAX_BOXES + 1):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            # Without SO_REUSEADDR a box that just ended would hold its number for a minute (TIME_WAIT).
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((f"127.1.{number}.1", port))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        listener.setblocking(False)
        return BoxClaim(number, listener)
    raise AddressesExhausted(
        f"all {MAX_BOXES} box numbers are taken (port {port} on 127.1.1.1 to 127.1.{MAX_BOXES}.1): "
        "stop one with `manta down`"
    )


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
