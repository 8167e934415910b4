"""`manta status`, `manta logs` and `manta down`: looking at a running box, and ending it."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manta_operator.api import names
from manta_operator.box.state import BoxState, end, read_state
from manta_operator.cli import options
from manta_operator.cli.failures import Refused
from manta_operator.cli.story import Snapshot
from manta_operator.cli.watch import take
from manta_operator.controller.client import KubeClient, connect
from manta_operator.controller.errors import ClusterError


@click.command()
@options.state
def status(state: Path) -> None:
    """Show the LLMDeployments of the box, their pods and where to reach them."""
    _run(_status(state))


@click.command()
@click.argument("name")
@click.option("--component", type=click.Choice(["engine", "router"]), default="engine", show_default=True)
@click.option("-c", "--container", help="Container of the pods. Default: each one's first.")
@click.option("--tail", type=click.IntRange(min=1), default=20, show_default=True, help="Lines of each pod.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@options.state
def logs(name: str, component: str, container: str | None, tail: int, follow: bool, state: Path) -> None:
    """Print what the pods of the LLMDeployment NAME say, each line with its pod."""
    _run(_logs(state, name, component, container, tail, follow))


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


def _run(work: Awaitable[None]) -> None:
    async def main() -> None:
        await work

    try:
        asyncio.run(main())
    except ClusterError as error:
        raise Refused([f"the box does not answer: {error}"]) from error
    except KeyboardInterrupt:
        pass


@asynccontextmanager
async def _client(state: Path) -> AsyncIterator[tuple[BoxState, KubeClient]]:
    found = read_state(state)
    if found is None:
        raise Refused([f"no box runs in {state}; start one with `manta up`, or name its folder with --state"])
    with tempfile.TemporaryDirectory(prefix="manta-") as scratch:
        async with connect(Path(scratch), found.kubeconfig) as client:
            yield found, client


async def _status(state: Path) -> None:
    async with _client(state) as (found, client):
        seen = await take(client)
        services = await client.list("v1", "Service", selector=f"{names.LABEL_COMPONENT}={names.COMPONENT_ROUTER}")
    console = Console()
    console.print(f"box {found.number}, process {found.pid}, export KUBECONFIG={found.kubeconfig}", soft_wrap=True)
    console.print(_deployments(seen, services))
    console.print(_pods(seen))


def _deployments(seen: Snapshot, services: list[dict[str, Any]]) -> Table:
    urls = {service["metadata"]["name"]: _url(service) for service in services}
    table = Table(box=None, pad_edge=False)
    for column in ("LLMDEPLOYMENT", "SERVING", "READY", "URL", "MESSAGE"):
        table.add_column(column, overflow="fold", no_wrap=column == "URL")
    for name, view in sorted(seen.deployments.items()):
        serving, ready = f"{view.ready}/{view.desired}", "yes" if view.is_ready else "no"
        table.add_row(name, serving, ready, urls.get(name, ""), escape(view.message))
    return table


def _pods(seen: Snapshot) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("POD", "STATE", "RESTARTS", "ADDRESS", "PROBLEM"):
        table.add_column(column, overflow="fold")
    for name, pod in sorted(seen.pods.items()):
        table.add_row(name, pod.state, str(pod.restarts), pod.address, escape(pod.problem or ""))
    return table


def _url(service: dict[str, Any]) -> str:
    return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}/v1"


async def _logs(state: Path, name: str, component: str, container: str | None, tail: int, follow: bool) -> None:
    async with _client(state) as (_, client):
        selector = f"{names.LABEL_DEPLOYMENT}={name},{names.LABEL_COMPONENT}={component}"
        pods = await client.list("v1", "Pod", selector=selector)
        if not pods:
            raise Refused([f"no {component} pods of LLMDeployment {name}; `manta status` shows what there is"])
        streams = [_print_log(client, pod, container, tail, follow) for pod in pods]
        await asyncio.gather(*streams)


async def _print_log(client: KubeClient, pod: dict[str, Any], container: str | None, tail: int, follow: bool) -> None:
    metadata = pod["metadata"]
    chosen = container or pod["spec"]["containers"][0]["name"]
    async for line in client.logs(metadata["namespace"], metadata["name"], chosen, tail=tail, follow=follow):
        click.echo(f"{metadata['name']} | {line}")
