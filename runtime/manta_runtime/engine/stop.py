"""Being told to stop: the first signal asks for a drain, the second for speed."""

from __future__ import annotations

import asyncio
import signal


class Stop:
    """SIGTERM and SIGINT of this process, counted."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()

    def listen(self) -> None:
        """Take over SIGTERM and SIGINT; call it inside the running loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask)

    def ask(self) -> None:
        """Count one request to stop."""
        if self.asked.is_set():
            self.hurried.set()
        self.asked.set()
