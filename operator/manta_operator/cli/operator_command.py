"""`manta operator`: runs the control plane in this process; what the operator's Deployment starts."""

import os
import re
import secrets
import socket
import sys
from collections.abc import Callable

import click

from manta_operator.api import names
from manta_operator.api.fields import ENDPOINT_PATTERN
from manta_operator.cli import options
from manta_operator.cli.failures import Refused
from manta_operator.cli.webhook_options import options_of_webhook
from manta_operator.controller import run_logging
from manta_operator.controller.leader import Terms
from manta_operator.controller.run import run
from manta_operator.controller.run_startup import CannotStart
from manta_operator.controller.settings import Settings, WebhookSettings

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@click.command()
@click.option(
    "--namespace", "namespaces", multiple=True, help="Watch this namespace alone; may be repeated. Default: all."
)
@click.option("--resync-seconds", type=click.FloatRange(min=1), default=600.0, show_default=True)
@click.option("--leader-elect", is_flag=True, help="Act only while holding a Lease: for more than one replica.")
@click.option("--lease-name", default="manta-operator", show_default=True)
@click.option(
    "--own-namespace", envvar="POD_NAMESPACE", default=names.OPERATOR_NAMESPACE, show_default=True,
    help="Where the operator runs: routers let it in from there. The environment's POD_NAMESPACE tells it, too.",
)  # fmt: skip
@click.option("--lease-namespace", envvar="POD_NAMESPACE", help="Default: the environment's POD_NAMESPACE.")
@click.option(
    "--lease-seconds", type=click.FloatRange(min=3), default=15.0, show_default=True,
    help="How long a standby waits for a leader that does not renew.",
)  # fmt: skip
@click.option("--health-port", type=click.IntRange(1, 65535), help="Serve /healthz, /readyz and /metrics there.")
@click.option("--health-host", default="127.0.0.1", show_default=True, help="Address of the health port.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--catalog",
    default=names.CATALOG,
    show_default=True,
    help="ConfigMap in the own namespace with models and accelerators of your own. Empty: none.",
)
@click.option(
    "--hub",
    "hubs",
    multiple=True,
    metavar="ADDRESS",
    help="A hub that may be asked about hf:// models that no catalog has; may be repeated, the first is for models "
    "without an endpoint. Default: no hub is asked.",
)
@click.option(
    "--read-secrets", is_flag=True, help="Ask hubs with the tokens of credentialsSecret. The role has to allow it."
)
@options_of_webhook
@options.host_paths
def operator(
    namespaces: tuple[str, ...],
    resync_seconds: float,
    leader_elect: bool,
    own_namespace: str,
    lease_name: str,
    lease_namespace: str | None,
    lease_seconds: float,
    health_port: int | None,
    health_host: str,
    log_format: str,
    catalog: str,
    hubs: tuple[str, ...],
    read_secrets: bool,
    webhook: Callable[[str], WebhookSettings | None],
    maps: tuple[str, ...],
) -> None:
    """Run the operator until SIGTERM."""
    run_logging.configure(log_format)
    _check(namespaces, hubs)
    lease = _terms(lease_name, lease_namespace, lease_seconds) if leader_elect else None
    settings = Settings(
        namespaces=namespaces,
        resync_seconds=resync_seconds,
        host_paths=options.parse_maps(maps),
        namespace=own_namespace,
        lease=lease,
        health=(health_host, health_port) if health_port else None,
        catalog=catalog,
        hubs=hubs,
        reads_secrets=read_secrets,
        webhook=webhook(own_namespace),
    )
    try:
        sys.exit(run(settings))
    except CannotStart as error:
        raise Refused([str(error)]) from error


def _check(namespaces: tuple[str, ...], hubs: tuple[str, ...]) -> None:
    """Refuse what is no name: kopf would take `team-*` for a pattern, which no Role could follow."""
    wrong = [name for name in namespaces if not _LABEL.fullmatch(name)]
    if wrong:
        raise Refused([f"--namespace={name}: not the name of a namespace" for name in wrong])
    if wrong := [hub for hub in hubs if not re.match(ENDPOINT_PATTERN, hub.rstrip("/"))]:
        raise Refused([f"--hub={hub}: not the address of a hub, such as https://hub.example.com" for hub in wrong])


def _terms(name: str, namespace: str | None, seconds: float) -> Terms:
    if not namespace:
        raise Refused(["--leader-elect needs to know where the Lease is: give --lease-namespace or set POD_NAMESPACE"])
    # A name alone would not do: after a crash, the next process in this pod is another candidate.
    identity = f"{os.environ.get('POD_NAME') or socket.gethostname()}_{secrets.token_hex(4)}"
    return Terms(namespace, name, identity, duration=seconds, deadline=seconds * 2 / 3, retry=seconds * 2 / 15)
