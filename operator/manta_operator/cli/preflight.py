"""What `manta up` checks of this machine before it starts anything: ports and memory. Pure but for `measure`.

A cluster finds these out later, pod by pod; on one machine they can be known at once.
"""

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psutil

from manta_operator.api.quantity import parse_quantity
from manta_operator.box.workloads.node import detect
from manta_operator.cli.manifests import Planned
from manta_operator.planning.fit import gib

_PROBE_ADDRESS = "127.1.251.1"
"""Never a box's own, so a port that is taken here is taken on every address of the machine."""

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Machine:
    """What was measured: bytes of memory that are free, usable cores, and ports that cannot be had, with the reason."""

    memory: int
    cores: float
    taken: Mapping[int, str]


def problems(planned: Iterable[Planned], machine: Machine) -> list[str]:
    """Return one line for everything that would keep the deployments from running here."""
    planned = list(planned)
    lines = [line for entry in planned for line in _ports(entry, machine.taken)]
    lines += [line for entry in planned for line in _images(entry)]
    return lines + _memory(planned, machine.memory) + _cores(planned, machine.cores)


def warnings(planned: Iterable[Planned], machine: Machine) -> list[str]:
    """Return one line for every deployment that an autoscaler may ask for more of than this machine has memory for."""
    planned, lines = list(planned), []
    free = max(0, machine.memory - int(sum(_requested(entry, "memory") for entry in planned)))
    for entry in planned:
        spec, pods = entry.deployment.spec, entry.desired.plan.shape.pods
        each = int(_of_pod(entry.desired.template, "memory")) * pods
        if spec.autoscaling is None or not each:
            continue
        room = spec.replicas + free // each
        if room < spec.autoscaling.max_replicas:
            lines.append(
                f"{entry.source}: {entry.deployment.name}: spec.autoscaling.maxReplicas is "
                f"{spec.autoscaling.max_replicas}, and this machine has memory for {room} "
                f"({gib(each)} for each): others would wait for a place (condition Autoscaled, reason NoRoom)"
            )
    return lines


def measure(planned: Iterable[Planned]) -> Machine:
    """Measure this machine for the deployments: the ports they need, and the memory and cores the box's node has."""
    ports = {port for entry in planned for _, port in _ports_of(entry)}
    reasons = {port: _taken(port) for port in sorted(ports)}
    node = detect()
    return Machine(
        memory=node.memory,
        cores=node.cpu,
        taken={port: reason for port, reason in reasons.items() if reason},
    )


def _images(entry: Planned) -> Iterator[str]:
    uri = entry.deployment.spec.model.uri
    if uri.startswith("oci://"):
        yield (
            f"{entry.source}: {entry.deployment.name}: spec.model.uri: {uri}: the box mounts no images; "
            "unpack it into a folder and use a file:// uri, or try it in a cluster"
        )


def _ports(entry: Planned, taken: Mapping[int, str]) -> Iterator[str]:
    for field, port in _ports_of(entry):
        if port in taken:
            yield f"{entry.source}: {entry.deployment.name}: {field}: port {port} {taken[port]}"


def _ports_of(entry: Planned) -> Iterator[tuple[str, int]]:
    yield "spec.router.port", entry.deployment.spec.router.port
    seen = set()
    for obj in entry.desired.objects:
        for container in _containers(obj):
            for port in container.get("ports") or ():
                number = port["containerPort"]
                if number not in seen:
                    seen.add(number)
                    yield f"container {container['name']}", number


def _memory(planned: list[Planned], available: int) -> list[str]:
    asked = {entry.deployment.name: int(_requested(entry, "memory")) for entry in planned}
    if sum(asked.values()) <= available:
        return []
    parts = ", ".join(f"{name} {gib(size)}" for name, size in asked.items())
    return [
        f"spec.replicas: the pods ask for {gib(sum(asked.values()))} of memory ({parts}), this machine has "
        f"{gib(available)} available; lower spec.replicas or spec.engine.resources.memory, or free some memory"
    ]


def _cores(planned: list[Planned], cores: float) -> list[str]:
    asked = {entry.deployment.name: _requested(entry, "cpu") for entry in planned}
    if sum(asked.values()) <= cores:
        return []
    parts = ", ".join(f"{name} {float(amount):g}" for name, amount in asked.items())
    return [
        f"spec.replicas: the pods ask for {float(sum(asked.values())):g} cores ({parts}), this machine has {cores:g}; "
        "lower spec.replicas or spec.engine.resources.cpu"
    ]


def _requested(entry: Planned, resource: str) -> Decimal:
    """Return the sum of a resource's requests over all pods of a deployment: bytes or cores."""
    total = Decimal(0)
    for obj in entry.desired.objects:
        if _pods(obj):
            total += _of_pod(obj["spec"]["template"], resource) * _pods(obj)
    return total


def _of_pod(template: Object, resource: str) -> Decimal:
    """Return what one pod of a template requests of a resource."""
    asked = (container.get("resources", {}).get("requests", {}) for container in template["spec"]["containers"])
    return sum((parse_quantity(requests.get(resource, "0")) for requests in asked), Decimal(0))


def _pods(obj: Object) -> int:
    return int(obj["spec"].get("replicas", 1)) if obj["kind"] in ("StatefulSet", "Deployment") else 0


def _containers(obj: Object) -> list[Mapping[str, Any]]:
    if obj["kind"] not in ("StatefulSet", "Deployment"):
        return []
    containers: list[Mapping[str, Any]] = obj["spec"]["template"]["spec"]["containers"]
    return containers


def _taken(port: int) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_PROBE_ADDRESS, port))
        except OSError as error:
            return _reason(port, error)
    return None


def _reason(port: int, error: OSError) -> str:
    if error.errno == errno.EACCES:
        return "may only be opened by root on this machine; use 1024 or higher"
    if error.errno == errno.EADDRINUSE:
        return f"is taken on all addresses of this machine by {_holder(port)}; stop it, or use another port"
    return f"cannot be opened: {os.strerror(error.errno or 0)}"


def _holder(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
            return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "another program"
