"""The box's kube-proxy: every Service's cluster IP and port listens, and each connection goes to a ready endpoint.

Round robin over ready endpoints; those that leave but still serve are used only when none is ready; an endpoint
that refuses is passed
over; with none left the client is reset at once. Live connections stay as they are whatever changes. `listeners`
and `backends` are pure.
"""

import asyncio
import errno
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from manta_operator.box.cluster import Cluster, Event, Object
from manta_operator.box.holders import holder
from manta_operator.box.relay import Side, cut, join, reset
from manta_operator.box.workloads.events import record

log = logging.getLogger(__name__)

_SERVICE_LABEL = "kubernetes.io/service-name"
_RETRY = 5.0  # seconds between attempts to get a port somebody else holds
_CONNECT_TIMEOUT = 5.0  # seconds; on loopback only an endpoint with a full backlog takes this long

Address = tuple[str, int]
ServiceKey = tuple[str, str]


@dataclass(frozen=True)
class Target:
    """Which Service port a listener stands for."""

    service: ServiceKey
    port_name: str


def listeners(services: Iterable[Object]) -> dict[Address, Target]:
    """(cluster IP, port) → Service port, for every TCP port of every Service that has a cluster IP."""
    wanted = {}
    for service in services:
        meta, spec = service["metadata"], service["spec"]
        address = spec.get("clusterIP")
        if address and address != "None" and spec.get("type") != "ExternalName":
            for port in spec.get("ports") or []:
                if port.get("protocol", "TCP") == "TCP":
                    target = Target((meta["namespace"], meta["name"]), port.get("name", ""))
                    wanted[address, int(port["port"])] = target
    return wanted


def backends(slices: Iterable[Object], port_name: str) -> list[Address]:
    """Where connections may go now: ready endpoints, else those that terminate but still serve. Sorted."""
    ready, leaving = set(), set()
    for item in slices:
        ports = [p["port"] for p in item.get("ports") or [] if p.get("name", "") == port_name and p.get("port")]
        for endpoint in item.get("endpoints") or []:
            conditions = endpoint.get("conditions") or {}
            found = {(address, int(port)) for address in endpoint["addresses"] for port in ports}
            if conditions.get("ready") is not False:
                ready |= found
            elif conditions.get("serving") and conditions.get("terminating"):
                leaving |= found
    return sorted(ready or leaving)


def _maker(side: Side) -> Callable[[], Side]:
    return lambda: side


class ServiceProxy:
    """Listens for all Services of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._services: dict[ServiceKey, Object] = {}
        self._slices: dict[ServiceKey, Object] = {}
        self._targets: dict[Address, Target] = {}
        self._servers: dict[Address, asyncio.Server] = {}
        self._complaints: dict[Address, str] = {}
        self._turns: dict[Target, itertools.count[int]] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._clients: set[Side] = set()
        self._dirty = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled; then stop listening and cut what is open."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch(), name="watch-proxy")
                tasks.create_task(self._sync_when_dirty(), name="sync-proxy")
        finally:
            for server in self._servers.values():
                server.close()
            for task in tuple(self._connecting):
                task.cancel()
            for client in tuple(self._clients):
                cut(client)

    async def _watch(self) -> None:
        while True:
            try:
                async for event in self._cluster.watch("Service", "EndpointSlice"):
                    self._take(event)
            except Exception:  # Services must outlive any trouble of one watch
                log.exception("the proxy's watch failed, starting it again")
            await asyncio.sleep(1)

    def _take(self, event: Event) -> None:
        meta = event.object["metadata"]
        is_service = event.object["kind"] == "Service"
        store = self._services if is_service else self._slices
        if event.type == "DELETED":
            store.pop((meta["namespace"], meta["name"]), None)
        else:
            store[meta["namespace"], meta["name"]] = event.object
        if is_service:
            self._dirty.set()

    async def _sync_when_dirty(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_RETRY if self._complaints else None):
                    await self._dirty.wait()
            except TimeoutError:
                log.debug("trying again to listen on %s", sorted(self._complaints))
            self._dirty.clear()
            await self._sync()

    async def _sync(self) -> None:
        self._targets = listeners(self._services.values())
        for address in sorted(self._servers.keys() - self._targets.keys()):
            self._servers.pop(address).close()
        for address in self._complaints.keys() - self._targets.keys():
            del self._complaints[address]
        for address in sorted(self._targets.keys() - self._servers.keys()):
            await self._listen(address)

    async def _listen(self, address: Address) -> None:
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: _Client(self, address), *address, backlog=512)
        except OSError as error:
            self._complain(address, error)
            return
        self._servers[address] = server
        self._complaints.pop(address, None)

    def _complain(self, address: Address, error: OSError) -> None:
        target = self._targets[address]
        why = f"it is held by {holder(address)}" if error.errno == errno.EADDRINUSE else str(error.strerror or error)
        message = (
            f"cannot listen on {address[0]}:{address[1]} for Service {'/'.join(target.service)}: {why}; "
            "stop that program, or give the Service another port"
        )
        if self._complaints.get(address) != message:
            log.warning("%s (trying again every %.0f s)", message, _RETRY)
            record(self._cluster, self._services[target.service], "Warning", "PortNotAvailable", message)
        self._complaints[address] = message

    def accept(self, client: Side, address: Address) -> None:
        """Take one new client connection on a Service address; returns at once."""
        self._clients.add(client)
        task = asyncio.get_running_loop().create_task(self._connect(client, address))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: Side, address: Address) -> None:
        for host, port in self._in_turn(address):
            backend = Side()
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT):
                    await asyncio.get_running_loop().create_connection(_maker(backend), host, port)
            except (OSError, TimeoutError) as error:
                log.debug("endpoint %s:%d did not take the connection (%s), trying the next", host, port, error)
                continue
            join(client, backend)
            return
        if client.transport is not None:
            reset(client.transport)

    def forget(self, client: Side) -> None:
        """The connection of a client has ended."""
        self._clients.discard(client)

    def _in_turn(self, address: Address) -> Sequence[Address]:
        target = self._targets.get(address)
        if target is None:
            return ()
        found = backends(_slices_of(target.service, self._slices), target.port_name)
        if not found:
            return ()
        first = next(self._turns.setdefault(target, itertools.count())) % len(found)
        return found[first:] + found[:first]


def _slices_of(service: ServiceKey, slices: Mapping[ServiceKey, Object]) -> list[Object]:
    return [
        item
        for (namespace, _), item in slices.items()
        if namespace == service[0] and (item["metadata"].get("labels") or {}).get(_SERVICE_LABEL) == service[1]
    ]


class _Client(Side):
    """The client's side of a connection: asks the proxy for a backend as soon as it is there."""

    def __init__(self, proxy: ServiceProxy, address: Address) -> None:
        super().__init__()
        self._proxy = proxy
        self._address = address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hold reading, find a backend."""
        super().connection_made(transport)
        self._proxy.accept(self, self._address)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the backend's side too."""
        super().connection_lost(exc)
        self._proxy.forget(self)
