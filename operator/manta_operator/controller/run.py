"""Starts the operator: kopf with Manta's handlers, until it is told to stop."""

import asyncio
import logging

import kopf

from manta_operator.controller.handlers import register
from manta_operator.controller.settings import Settings


def run(settings: Settings) -> None:
    """Run the operator in this process until SIGTERM or SIGINT."""
    registry = kopf.OperatorRegistry()
    register(registry, settings)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    asyncio.run(
        kopf.operator(
            registry=registry,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            standalone=True,
            priority=0,
        )
    )
