"""Sees to it that API servers trust the webhook's certificate, and that it is renewed: one task beside the server.

A certificate of our own is published before it is shown, and what it replaces stays trusted for a while: connections
that are just being made, and API servers that have not heard of it yet, see no gap. Files are read again instead:
whoever renews them has published their authority.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from manta_operator.controller import metrics, webhook_certificates
from manta_operator.controller.errors import ClusterError
from manta_operator.controller.webhook_bundle import Bundle
from manta_operator.controller.webhook_certificates import Certificate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pauses:
    """Seconds between looks, after a failure, and from the publication of an authority until it is made use of."""

    look: float = 60.0
    retry: float = 5.0
    switch: float = 10.0


class Keeper:
    """The certificate of one server, and where it comes from: `bundle` and `make`, or a folder.

    A folder without a good certificate is waited for: cert-manager may be slower than we are.
    """

    def __init__(
        self,
        *,
        bundle: Bundle | None = None,
        make: Callable[[], Certificate] | None = None,
        folder: Path | None = None,
        pauses: Pauses = Pauses(),
    ) -> None:
        self._bundle, self._make, self._folder, self._pauses = bundle, make, folder, pauses
        self._now = self._new() if folder is None else None
        self._gone: frozenset[str] = frozenset()
        self.context: ssl.SSLContext = (
            webhook_certificates.context_of(self._now) if self._now else webhook_certificates.empty_context()
        )
        self._ready = False
        self._told = ""

    def trouble(self) -> str:
        """Return why no API server would trust the server yet; empty once they do."""
        what = "published" if self._folder is None else "there"
        return "" if self._ready else f"the webhook's certificate is not {what}: {self._told or 'not tried yet'}"

    async def run(self) -> None:
        """Keep it so for ever."""
        while True:
            try:
                await self._look()
            except (ClusterError, OSError, ssl.SSLError) as error:
                self._tell(str(error) or type(error).__name__)
                await asyncio.sleep(self._pauses.retry)
            else:
                self._tell("")
                await asyncio.sleep(self._pauses.look)

    async def _look(self) -> None:
        """Publish what is shown, or what is to be shown next. Raises ClusterError, OSError, ssl.SSLError."""
        if self._bundle is None or self._now is None:
            found = self._new()
            if found != self._now:
                webhook_certificates.replace(self.context, found)
                log.info("the webhook's certificate has been read%s", " again" if self._now else "")
                self._now, self._ready = found, True
            return
        await self._bundle.trust(self._now.authority, self._gone)
        self._ready = True
        if time.time() < self._now.renew_at:
            return
        new = self._new()
        await self._bundle.trust(new.authority)
        await asyncio.sleep(self._pauses.switch)
        webhook_certificates.replace(self.context, new)
        self._gone, self._now = frozenset({self._now.authority}), new
        log.info("the webhook's certificate has been renewed")

    def _new(self) -> Certificate:
        if self._folder is not None:
            return webhook_certificates.read(self._folder)
        if self._make is None:
            raise ValueError("a keeper needs a folder, or makes certificates itself")
        return self._make()

    def _tell(self, sentence: str) -> None:
        metrics.webhook_trusted(not sentence)
        if sentence and sentence != self._told:
            log.warning("the webhook's certificate: %s; trying again every %g s", sentence, self._pauses.retry)
        self._told = sentence
