"""The admission webhook as a part of the operator's process: server, certificate, facts. Off unless it has a port.

Every replica serves it, the one that leads and those that wait for the lease: it reads what is known and writes nothing
but its own authority into the caBundle of its configuration. docs/admission.md, ADR 0024.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from manta_operator.controller import webhook_certificates
from manta_operator.controller.probes import Progress
from manta_operator.controller.run_startup import CannotStart, Link
from manta_operator.controller.webhook_bundle import Bundle
from manta_operator.controller.webhook_keeper import Keeper
from manta_operator.controller.webhook_server import Known, serving


@dataclass(frozen=True)
class WebhookSettings:
    """Where the webhook is served, and as what.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        name: Of its Service, and of its ValidatingWebhookConfiguration.
        namespace: Of its Service.
        certificates: Folder with tls.crt and tls.key that somebody else renews, who publishes their authority, too;
            None: the operator makes them, and publishes its authority itself.
    """

    host: str
    port: int
    name: str
    namespace: str
    certificates: Path | None = None

    @property
    def server_names(self) -> tuple[str, ...]:
        """What API servers call it, and people who try it."""
        service = f"{self.name}.{self.namespace}.svc"
        return (service, f"{self.name}.{self.namespace}", f"{service}.cluster.local")


@asynccontextmanager
async def admission(settings: WebhookSettings, to: Link, known: Known, progress: Progress) -> AsyncIterator[int]:
    """Serve the webhook, and keep it trusted; `/readyz` waits for that. Yields the port.

    Raises:
        CannotStart: the port is taken, or the folder has no certificate.
    """
    try:
        keeper = _keeper(settings, to)
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(
            f"the webhook's certificate cannot be read: {error}; {settings.certificates} must have "
            f"{webhook_certificates.CERTIFICATE} and {webhook_certificates.KEY}"
        ) from error
    progress.also_waits(keeper.trouble)
    try:
        server = serving(known, keeper.context, settings.host, settings.port)
        port = await server.__aenter__()
    except OSError as error:
        raise CannotStart(f"cannot serve the webhook on {settings.host}:{settings.port}: {error}") from error
    keeping = asyncio.create_task(keeper.run())
    try:
        yield port
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})
        await server.__aexit__(None, None, None)


def _keeper(settings: WebhookSettings, to: Link) -> Keeper:
    if settings.certificates is not None:
        return Keeper(folder=settings.certificates)
    bundle = Bundle(to.session, to.server, settings.name)
    return Keeper(bundle=bundle, make=lambda: webhook_certificates.make(settings.server_names, time.time()))
