"""A picker that tells of a demand that the test makes up, at the address that the world's pods have."""

import asyncio
import time

from aiohttp import web
from scaled_deployment import document

from manta_operator.api import names

ADDRESS = "127.1.251.2"
"""Of every pod of operator_world.py."""
LONGEST_SECONDS = 10.0


class Picker:
    """`rate`: requests a second that come. `answer`: what it answers instead, as arguments of a response."""

    def __init__(self):
        self.answer, self.asked = None, 0
        self._came, self._rate, self._since = 0.0, 0.0, time.monotonic()
        self._held, self._somebody = 0, asyncio.Event()
        self._runner = None

    async def start(self):
        """Listen."""
        application = web.Application()
        application.router.add_get("/demand", self._tell)
        application.router.add_get("/demand/held", self._hold)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, ADDRESS, names.PICKER_PORT).start()

    async def stop(self):
        """Listen no more."""
        await self._runner.cleanup()

    @property
    def rate(self):
        return self._rate

    @rate.setter
    def rate(self, rate):
        now = time.monotonic()
        self._came += self._rate * (now - self._since)
        self._rate, self._since = rate, now

    def hold(self, requests):
        """So many requests come, and wait for a replica; 0: they go again."""
        self._came += requests
        self._held = requests
        if requests:
            self._somebody.set()
        else:
            self._somebody.clear()

    async def _tell(self, _):
        self.asked += 1
        if self.answer is not None:
            return web.Response(**self.answer)
        came = int(self._came + self._rate * (time.monotonic() - self._since))
        return web.json_response(document(came, held=self._held, in_flight=1 if self._rate else 0))

    async def _hold(self, request):
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await self._somebody.wait()
        except TimeoutError:
            pass
        return await self._tell(request)
