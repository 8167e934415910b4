"""What the picker writes of the replicas: for Envoy (`endpoints.py`), and for the picker after it (`remembered.py`).

A replica that is ready is usable when Envoy knows it (`reach.py`). What cannot be written is tried again.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from manta_runtime.router import remembered
from manta_runtime.router.endpoints import FILE_NAME, EndpointsFile
from manta_runtime.router.membership import Endpoint, Members
from manta_runtime.router.picker.engine_client import EngineClient
from manta_runtime.router.picker.reach import Reach
from manta_runtime.router.remembered import Remembered

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 1.0


class Written:
    """The files in `run_dir`. `envoy`: whom to ask what Envoy knows, None: nobody has to know. `changed`: it does."""

    def __init__(
        self, run_dir: Path, members: Members, envoy: EngineClient | None, changed: Callable[[], None]
    ) -> None:
        self._members = members
        self._changed = changed
        self._endpoints = EndpointsFile(run_dir / FILE_NAME)
        self._remembered = Remembered(run_dir / remembered.FILE_NAME)
        self._reach = Reach(envoy, self._endpoints.addresses, self._reached) if envoy is not None else None
        self._failed_at: float | None = None

    @property
    def settled(self) -> bool:
        """Whether Envoy has known all replicas once."""
        return self._reach is None or self._reach.settled

    def before(self) -> list[Endpoint]:
        """The replicas that the picker before us saw last."""
        return self._remembered.read()

    def write(self, now: float) -> None:
        """Write the members down, and let those be usable that Envoy knows."""
        try:
            self._endpoints.write(self._members.all)
            self._remembered.write(self._members.all)
        except OSError as error:
            if self._failed_at is None:
                log.error("cannot write the replicas down: %s; does --run-dir exist, and is it writable?", error)  # noqa: TRY400
            self._failed_at = now
        else:
            self._failed_at = None
        if self._reach is not None:
            self._reach.follow(self._endpoints.version, self._endpoints.addresses)
            self._members.reach(self._reach.known)

    def again(self, now: float) -> None:
        """Try again what could not be written; to be called often."""
        if self._failed_at is not None and now >= self._failed_at + _AGAIN_SECONDS:
            self.write(now)

    async def close(self) -> None:
        """Ask Envoy no more."""
        if self._reach is not None:
            await self._reach.close()

    def _reached(self, known: frozenset[str]) -> None:
        self._members.reach(known)
        self._changed()
