"""`manta operator`: runs the control plane in this process; what the operator's Deployment starts."""

import logging

import click

from manta_operator.cli import options
from manta_operator.controller.run import run
from manta_operator.controller.settings import Settings


@click.command()
@click.option(
    "--namespace", "namespaces", multiple=True, help="Watch this namespace alone; may be repeated. Default: all."
)
@click.option("--resync-seconds", type=click.FloatRange(min=1), default=60.0, show_default=True)
@options.host_paths
def operator(namespaces: tuple[str, ...], resync_seconds: float, maps: tuple[str, ...]) -> None:
    """Run the operator until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    run(Settings(namespaces=namespaces, resync_seconds=resync_seconds, host_paths=options.parse_maps(maps)))
