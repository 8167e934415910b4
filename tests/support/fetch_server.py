"""What the fake sources of `manta-runtime fetch` share: an HTTP server on a thread of its own, on a local port."""

import asyncio
import threading

from aiohttp import web


class ThreadedServer:
    """A context manager around an aiohttp server; `routes` says what it answers, `port` where it listens.

    It comes back at the same port when it is entered again.
    """

    def __init__(self):
        self.requests = []
        self.sent = 0
        self.port = 0

    def routes(self, router):
        """Add what is answered to aiohttp's router."""
        raise NotImplementedError

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    def _serve(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self):
        self._end = asyncio.Event()
        application = web.Application()
        self.routes(application.router)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        self.port = runner.addresses[0][1]
        self._up.set()
        await self._end.wait()
        await runner.cleanup()
