"""The engines as Envoy knows them: a file of its endpoint discovery service (EDS), written by the picker.

The pods' addresses change while Envoy runs. The picker, who watches them, writes the file into a folder that both
containers share; Envoy sees the rename and reads it, and can be asked for the version it has (`picker/reach.py`). Of
Envoy's own balancing (the fallback) only usable replicas are part; those that drain stay reachable for requests that
were sent there a moment ago.
"""

import contextlib
import json
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from manta_runtime.router.membership import Endpoint

CLUSTER = "engines"
FILE_NAME = "endpoints.json"
DEFAULT_RUN_DIR = Path("/var/run/manta-router")


def render(members: Iterable[Endpoint], version: str = "") -> str:
    """The file's text. The same members in any order give the same bytes. Of two with one address the usable counts."""
    usable: dict[str, bool] = {}
    for member in members:
        usable[member.address] = usable.get(member.address, False) or member.usable
    assignment = {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": CLUSTER,
        "endpoints": [{"lb_endpoints": [_host(address, usable[address]) for address in sorted(usable)]}],
    }
    return json.dumps({"version_info": version, "resources": [assignment]})


class EndpointsFile:
    """The file at `path`. Only a change is written, in one piece: Envoy never reads half of it.

    `version` and `addresses` (ip:port): of what it holds, whoever wrote it; another version for every change.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text, self.version, self.addresses = _read(path)

    def write(self, members: Iterable[Endpoint]) -> None:
        """Make the file say `members`. OSError if the folder is missing or cannot be written."""
        members = tuple(members)
        if render(members, self.version) != self._text:
            version = secrets.token_hex(8)
            text = render(members, version)
            replace(self._path, text)
            self._text, self.version = text, version
            self.addresses = frozenset(member.address for member in members)

    def create(self) -> None:
        """Make an empty one unless there is one: Envoy does not start without. OSError as above."""
        with contextlib.suppress(FileExistsError):
            _link(self._path, render(()))


def _read(path: Path) -> tuple[str, str, frozenset[str]]:
    """Text, version and addresses of a file that a picker before us may have written."""
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
        (assignment,) = document["resources"]
        hosts = [
            host["endpoint"]["address"]["socket_address"]
            for locality in assignment["endpoints"]
            for host in locality["lb_endpoints"]
        ]
        return text, str(document["version_info"]), frozenset(_joined(host) for host in hosts)
    except (OSError, ValueError, KeyError, TypeError):  # none, or not of this version of ours
        return "", "", frozenset()


def _joined(socket: dict[str, Any]) -> str:
    host = f"[{socket['address']}]" if ":" in socket["address"] else socket["address"]
    return f"{host}:{socket['port_value']}"


def _host(address: str, usable: bool) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    socket = {"address": host.strip("[]"), "port_value": int(port)}
    return {
        "endpoint": {"address": {"socket_address": socket}},
        "health_status": "HEALTHY" if usable else "DRAINING",
    }


def _scratch(path: Path, text: str) -> Path:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(text)
    scratch = Path(file.name)
    scratch.chmod(0o644)
    return scratch


def replace(path: Path, text: str) -> None:
    """Write the file in one piece: who reads it sees the old text or the new. OSError if that cannot be."""
    scratch = _scratch(path, text)
    try:
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _link(path: Path, text: str) -> None:
    """Like `replace`, but FileExistsError if the file is there: a picker that was quicker knows more than we."""
    scratch = _scratch(path, text)
    try:
        path.hardlink_to(scratch)
    finally:
        scratch.unlink()
