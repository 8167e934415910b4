"""`manta-runtime router envoy|picker`: the two containers of a router pod."""

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from manta_runtime.router.config import ConfigError, load
from manta_runtime.router.endpoints import DEFAULT_RUN_DIR

_EXIT_USAGE = 2


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option("--pod-ip", required=True, help="The pod's address: the only one bound to.")(function)
    function = click.option(
        "--run-dir",
        type=click.Path(path_type=Path),
        default=DEFAULT_RUN_DIR,
        show_default=True,
        help="Folder that both containers share: the picker writes the replicas there, and listens for Envoy.",
    )(function)
    return click.option(
        "--config",
        "file",
        type=click.Path(path_type=Path),
        default=Path("/etc/manta/router/router.yaml"),
        show_default=True,
        help="router.yaml, written by the operator.",
    )(function)


@click.group()
def router() -> None:
    """Run a router: Envoy moves the bytes, the picker chooses the replica."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


@router.command()
@_options
def envoy(file: Path, pod_ip: str, run_dir: Path) -> None:
    """Run Envoy and drain it on SIGTERM."""
    from manta_runtime.router.envoy import run  # noqa: PLC0415 - each container loads its own half only

    try:
        code = asyncio.run(run(load(file), pod_ip, run_dir))
    except ConfigError as error:
        _refuse(error)
    sys.exit(code)


@router.command()
@_options
@click.option("--keys-dir", type=click.Path(path_type=Path), help="The mounted Secret of API keys; wins over keysDir.")
@click.option("--tenants-file", type=click.Path(path_type=Path), help="tenants.yaml; wins over tenantsFile.")
def picker(file: Path, pod_ip: str, run_dir: Path, keys_dir: Path | None, tenants_file: Path | None) -> None:
    """Run the endpoint picker."""
    import uvloop  # noqa: PLC0415 - as above

    from manta_runtime.router.picker.run import run  # noqa: PLC0415

    try:
        places = {"keys_dir": keys_dir, "tenants_file": tenants_file}
        config = load(file).model_copy(update={name: path for name, path in places.items() if path is not None})
        uvloop.run(run(config, pod_ip, run_dir))
    except ConfigError as error:
        _refuse(error)


def _refuse(error: ConfigError) -> NoReturn:
    click.echo(f"error: {error}", err=True)
    sys.exit(_EXIT_USAGE)
