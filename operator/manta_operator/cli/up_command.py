"""`manta up`: a box with the operator in it, the given manifests applied, and a story until everything serves.

Stays in the foreground; Ctrl-C, SIGTERM or `manta down` take everything down again.
"""

import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click

from manta_operator.api.crd import custom_resource_definition
from manta_operator.box.box import Box, BoxConfig, BoxError
from manta_operator.cli import options, preflight
from manta_operator.cli.facts import Lookup
from manta_operator.cli.failures import Refused
from manta_operator.cli.manifests import Planned, plan_files
from manta_operator.cli.watch import Line, follow
from manta_operator.controller.client import KubeClient, connect
from manta_operator.controller.errors import ClusterError

USER_FIELD_MANAGER = "manta-cli"


@click.command()
@click.option(
    "-f", "--file", "paths", type=click.Path(path_type=Path), multiple=True, help="Manifest to apply; may be repeated."
)
@options.host_paths
@options.state
def up(paths: tuple[Path, ...], maps: tuple[str, ...], state: Path) -> None:
    """Start a single-machine stand-in for a cluster and serve the LLMDeployments in files. Not for production."""
    host_paths = options.parse_maps(maps)
    planned = plan_files(paths, Lookup(host_paths), local=True)
    machine = preflight.measure(planned)
    found = preflight.problems(planned, machine)
    if found:
        raise Refused(found)
    for line in preflight.warnings(planned, machine):
        click.secho(line, fg="yellow", err=True)
    box = Box(BoxConfig(state=state.resolve(), host_paths=host_paths))
    try:
        asyncio.run(_run(box, planned, maps))
    except BoxError as error:
        raise Refused([str(error)]) from error


async def _run(box: Box, planned: list[Planned], maps: tuple[str, ...]) -> None:
    started = time.monotonic()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _stop, box, stop)
    async with _running(box, maps):
        click.echo(f"box {box.number}: Kubernetes API on {box.url}; not for production")
        click.echo(f"kubectl: export KUBECONFIG={box.kubeconfig}")
        click.echo(f"logs:    {box.logs}")
        work = asyncio.create_task(_serve(box, planned, started))
        halt, broken = asyncio.create_task(stop.wait()), asyncio.create_task(box.broken())
        await asyncio.wait({work, halt, broken}, return_when=asyncio.FIRST_COMPLETED)
        if broken.done():
            work.cancel()
            broken.result()
        for task in (work, halt, broken):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        click.echo("stopping: engines drain, then everything ends (once more to hurry)")
    click.echo(f"stopped; logs are kept in {box.logs}")


def _stop(box: Box, stop: asyncio.Event) -> None:
    if stop.is_set():
        box.hurry()
    stop.set()


@asynccontextmanager
async def _running(box: Box, maps: tuple[str, ...]) -> AsyncIterator[None]:
    """Run the box with the CRD and the operator in it; takes all of it down however the body ends."""
    await box.start()
    try:
        box.cluster.create(custom_resource_definition())
        command = [
            sys.executable,
            "-m",
            "manta_operator.cli",
            "operator",
            *(f"--map={pair}" for pair in ("/=/", *maps)),
        ]
        box.spawn("operator", command)
        yield
    finally:
        await box.stop()


async def _serve(box: Box, planned: list[Planned], started: float) -> None:
    """Apply the manifests and tell what happens, for ever."""
    with tempfile.TemporaryDirectory(dir=box.scratch) as scratch:
        async with connect(Path(scratch), box.kubeconfig) as client:
            for entry in planned:
                await _apply(box, client, entry)
            invited = False
            async for snapshot, lines in follow(client, started):
                for line in lines:
                    say(line)
                if snapshot.all_ready and not invited:
                    await _invite(client, planned)
                    invited = True


async def _apply(box: Box, client: KubeClient, entry: Planned) -> None:
    _ensure_namespace(box, entry.deployment.namespace)
    body = dict(entry.body) | {"metadata": {"namespace": entry.deployment.namespace} | entry.body["metadata"]}
    try:
        await client.apply(body, manager=USER_FIELD_MANAGER)
    except ClusterError as error:
        raise Refused([f"{entry.source}: {error}"]) from error
    click.echo(f"applied {entry.deployment.namespace}/{entry.deployment.name} from {entry.source}")


def _ensure_namespace(box: Box, name: str) -> None:
    """Create the namespace a manifest names: a box starts empty, and nobody else would."""
    if box.cluster.find("Namespace", None, name) is None:
        box.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def say(line: Line) -> None:
    """Print one line of the story."""
    click.echo(f"{line.seconds:6.1f} s  {line.deployment:<14} {line.text}")


async def _invite(client: KubeClient, planned: list[Planned]) -> None:
    """Tell how to talk to what serves now."""
    for entry in planned:
        deployment = entry.deployment
        service = await client.get("v1", "Service", deployment.namespace, deployment.name)
        if service is None:
            continue
        url = f"http://{service['spec']['clusterIP']}:{deployment.spec.router.port}/v1"
        model = (deployment.spec.model.served_names or (deployment.name,))[0]
        body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "What is a manta ray?"}}]}}'
        click.echo(f"\ntalk to {deployment.name}:")
        click.echo(f"  curl {url}/chat/completions -H 'Content-Type: application/json' -d '{body}'")
    click.echo("\nCtrl-C stops everything.")
