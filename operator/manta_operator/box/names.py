"""Service and pod names of the box: a hosts file, kept in step with Services and EndpointSlices.

pysite/sitecustomize.py makes the processes of pods read it. Bare Service names are not in it: like a cluster's
DNS, the reader tries
the namespace of its own pod. `render` is pure.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from manta_operator.box.cluster import Cluster, Object

log = logging.getLogger(__name__)

DOMAIN = "cluster.local"
_SERVICE_LABEL = "kubernetes.io/service-name"
_SETTLE = 0.02  # seconds: changes this close together make one write


def render(services: Sequence[Object], slices: Sequence[Object]) -> str:
    """The hosts file: `address name…`, sorted; Services by cluster IP, headless ones by their ready endpoints."""
    lines: set[tuple[str, str]] = set()
    by_service: dict[tuple[str, str], list[Object]] = {}
    for item in slices:
        meta = item["metadata"]
        owner = (meta["namespace"], (meta.get("labels") or {}).get(_SERVICE_LABEL, ""))
        by_service.setdefault(owner, []).extend(item.get("endpoints") or [])
    for service in services:
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        address = service["spec"].get("clusterIP")
        if address and address != "None":
            lines.add((address, _names(f"{name}.{namespace}")))
        elif address == "None":
            lines |= _headless(name, namespace, by_service.get((namespace, name), []))
    return "".join(f"{address} {names}\n" for address, names in sorted(lines))


def _headless(name: str, namespace: str, endpoints: Sequence[Object]) -> set[tuple[str, str]]:
    lines = set()
    for endpoint in endpoints:
        if (endpoint.get("conditions") or {}).get("ready") is False:
            continue
        for address in endpoint["addresses"]:
            lines.add((address, _names(f"{name}.{namespace}")))
            if endpoint.get("hostname"):
                lines.add((address, _names(f"{endpoint['hostname']}.{name}.{namespace}")))
    return lines


def _names(base: str) -> str:
    return f"{base} {base}.svc {base}.svc.{DOMAIN}"


class HostsFile:
    """Writes `path` whenever a name changes; readers see the old file or the new one, never half of one."""

    def __init__(self, cluster: Cluster, path: Path) -> None:
        self._cluster = cluster
        self._path = path
        self._written: str | None = None
        self._dirty = asyncio.Event()

    async def run(self) -> None:
        """Keep the file until cancelled."""
        self.write()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="watch-names")
            tasks.create_task(self._write_when_dirty(), name="write-names")

    def write(self) -> None:
        """Write the file now if its content changed."""
        text = render(self._cluster.list("Service"), self._cluster.list("EndpointSlice"))
        if text == self._written:
            return
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fresh.write_text(text)
        fresh.replace(self._path)
        self._written = text

    async def _watch(self) -> None:
        while True:
            try:
                async for _ in self._cluster.watch("Service", "EndpointSlice"):
                    self._dirty.set()
            except Exception:  # names must outlive any trouble of one watch
                log.exception("the watch behind %s failed, starting it again", self._path)
            await asyncio.sleep(1)

    async def _write_when_dirty(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_SETTLE)
            self._dirty.clear()
            with contextlib.suppress(FileNotFoundError):  # the state folder is being removed
                self.write()
