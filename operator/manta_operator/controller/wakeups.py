"""Flags that wake the daemons: watch events only say that something changed, never what to do about it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from manta_operator.api import names

Key = tuple[str, str]


class Wakeups:
    """One flag per LLMDeployment (namespace, name), and whether the next pass should look for drift."""

    def __init__(self) -> None:
        self._flags: dict[Key, asyncio.Event] = {}
        self._full: set[Key] = set()

    def wake(self, key: Key, *, full: bool) -> None:
        """Wake the daemon of `key`, if there is one; it makes a pass as soon as it is not in one."""
        if key not in self._flags:
            return  # not begun, and it begins with a full pass; or gone, and its children are still going
        if full:
            self._full.add(key)
        self._flags[key].set()

    def begin(self, key: Key) -> None:
        """Make the flag of a daemon that starts."""
        self._flags.setdefault(key, asyncio.Event())

    async def wait(self, key: Key, seconds: float) -> bool:
        """Wait for a flag, at most `seconds`; return whether whoever raised it asked for a full pass."""
        flag = self._flags[key]
        try:
            # Not wait_for: in Python 3.11 it loses a cancellation that comes together with the flag.
            async with asyncio.timeout(seconds):
                await flag.wait()
        except TimeoutError:
            return False
        flag.clear()
        full = key in self._full
        self._full.discard(key)
        return full

    def forget(self, key: Key) -> None:
        """Drop the flag of an LLMDeployment that is gone."""
        self._flags.pop(key, None)
        self._full.discard(key)


def owner_of(event: Mapping[str, Any]) -> Key | None:
    """Return whose child the event is about, by its label."""
    metadata = event["object"]["metadata"]
    name = (metadata.get("labels") or {}).get(names.LABEL_DEPLOYMENT)
    return (metadata["namespace"], name) if name else None
