"""`manta down`: ends a running box."""

from pathlib import Path

import click

from manta_operator.box.state import end, read_state
from manta_operator.cli import options
from manta_operator.cli.failures import Refused


@click.command()
@options.state
@click.option("--timeout", type=click.FloatRange(min=1), default=120.0, show_default=True, help="Seconds to drain.")
def down(state: Path, timeout: float) -> None:
    """End the box: engines drain, then every process ends; the logs stay."""
    found = read_state(state)
    if found is None:
        click.echo(f"no box runs in {state}")
        return
    click.echo(f"stopping box {found.number} (process {found.pid})")
    if not end(found, timeout):
        raise Refused([f"box {found.number} did not end within {timeout:.0f} s; kill -9 {found.pid} ends it at once"])
    click.echo("stopped")
