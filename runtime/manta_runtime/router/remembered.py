"""The replicas as they were seen last, in a file beside Envoy's (`endpoints.py`): it outlives the picker's container.

A picker that starts while the API server is away goes on with them, instead of holding everything until it is back. The
file of Envoy's has addresses only; this one has all that the picker knows of a pod.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from manta_runtime.router.endpoints import replace
from manta_runtime.router.membership import Endpoint

log = logging.getLogger(__name__)

FILE_NAME = "replicas.json"


class Remembered:
    """The file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: str | None = None

    def write(self, members: Iterable[Endpoint]) -> None:
        """Make the file say `members`, in one piece. OSError if the folder is missing or cannot be written."""
        text = msgspec.json.encode(list(members)).decode()
        if text != self._written:
            replace(self._path, text)
            self._written = text

    def read(self) -> list[Endpoint]:
        """What was written last; nothing if there is no file, or one that cannot be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[Endpoint])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            log.warning("cannot read the replicas as they were: %s", error)
            return []
