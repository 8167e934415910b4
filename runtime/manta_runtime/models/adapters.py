"""`manta-runtime adapters`: the container that fetches the adapters of a pod, as long as the pod lives.

It alone sees credentials. Parse and check here; the work is in adapters_run.py. Wrong arguments end with exit code 2.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from manta_runtime.models.settings import FetchSettingsError, check_address

_FOLDER = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--wanted", required=True, type=_FOLDER, help="The file with the list of adapters; read every 2 s.")
@click.option("--told", required=True, type=_FOLDER, help="The folder that is told the state of each, in files.")
@click.option("--secrets", required=True, type=_FOLDER, help="The folder with a folder for each Secret.")
@click.option("--pod-ip", required=True, help="The pod's own address.")
def adapters(wanted: Path, told: Path, secrets: Path, pod_ip: str) -> None:
    """Fetch the adapters of a list that changes, each into its folder of the cache; the engine loads them.

    Ends with SIGTERM only: an adapter that cannot be fetched is told, and tried again. Nothing is ever removed.
    """
    try:
        check_address(pod_ip)
    except FetchSettingsError as error:
        raise click.UsageError(str(error)) from error
    # Imported late: --help need not wait for asyncio.
    from manta_runtime.models.adapters_run import run_adapters  # noqa: PLC0415

    sys.exit(run_adapters(wanted, told, secrets, pod_ip, dict(os.environ)))
