"""The admission webhook as a part of the operator's process: server, certificate, facts. Off unless it has a port.

Every replica serves it, the one that leads and those that wait for the lease: it reads what is known and writes nothing
but its own authority into the caBundle of its configuration. docs/admission.md, ADR 0024.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from manta_operator.controller import webhook_certificates
from manta_operator.controller.probes import Progress
from manta_operator.controller.run_startup import CannotStart, Link
from manta_operator.controller.settings import WebhookSettings
from manta_operator.controller.webhook_bundle import Bundle
from manta_operator.controller.webhook_keeper import Keeper, Pauses
from manta_operator.controller.webhook_server import Known, serving


@asynccontextmanager
async def admission(
    settings: WebhookSettings,
    to: Link,
    known: Known,
    progress: Progress,
    stop: asyncio.Event,
    pauses: Pauses | None = None,
) -> AsyncIterator[int]:
    """Serve the webhook until `stop`, and keep it trusted; `/readyz` waits for that. Yields the port.

    Raises:
        CannotStart: the port is taken, or there is no folder for the certificate.
    """
    if settings.certificates is not None and not settings.certificates.is_dir():
        raise CannotStart(
            f"{settings.certificates} is no folder; the webhook's certificate belongs there, as "
            f"{webhook_certificates.CERTIFICATE} and {webhook_certificates.KEY}"
        )
    keeper = _keeper(settings, to, pauses or Pauses())
    progress.also_waits(keeper.trouble)
    try:
        server = serving(known, keeper.context, settings.host, settings.port, stop)
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


def _keeper(settings: WebhookSettings, to: Link, pauses: Pauses) -> Keeper:
    if settings.certificates is not None:
        return Keeper(folder=settings.certificates, pauses=pauses)
    bundle = Bundle(to.session, to.server, settings.name)
    return Keeper(
        bundle=bundle, make=lambda: webhook_certificates.make(settings.server_names, time.time()), pauses=pauses
    )
