"""`manta logs`: what the pods of an LLMDeployment say, through the API server.

Without --follow one log after the other, each whole; with it all at once, and pods and containers that start later
join in, so that a rollout or a crash can be watched from one terminal.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import aiohttp
import click

from manta_operator.api import names
from manta_operator.cli.cluster import Where, options_of_cluster, run, the_deployment
from manta_operator.cli.failures import Refused
from manta_operator.cli.kubeconfig import Object
from manta_operator.cli.plain_lines import plain
from manta_operator.cli.rest import Api, CallFailed, path_of
from manta_operator.planning.observe import pod_problem

LOOK_SECONDS = 2.0
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")


@dataclass(frozen=True)
class Wanted:
    """Which pods and how much of them; `rank` None means every pod of a group, `tail` -1 everything."""

    router: bool = False
    replica: int | None = None
    rank: int | None = 0
    container: str | None = None
    previous: bool = False
    tail: int = 20
    raw: bool = False


@dataclass(frozen=True)
class Source:
    """One run of one container; `run` counts its starts."""

    namespace: str
    pod: str
    container: str
    run: int
    title: str


@click.command()
@click.argument("name")
@click.option("--replica", type=click.IntRange(min=0), help="This replica alone. Default: all.")
@click.option("--rank", default="0", show_default=True, help="Pod of each replica: 0 is the head; all for every one.")
@click.option("--router", is_flag=True, help="The router's pods instead of the engines'.")
@click.option(
    "-c",
    "--container",
    help="This container alone. Default: the engine, or what fetches its model; a router pod's all.",
)
@click.option("-p", "--previous", is_flag=True, help="The run before the last restart.")
@click.option("--tail", type=click.IntRange(min=-1), default=20, show_default=True, help="Lines of each; -1: all.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, of pods that come as well.")
@click.option("--raw", is_flag=True, help="Lines as they were written: JSON of engine pods stays JSON.")
@options_of_cluster()
def logs(
    name: str,
    replica: int | None,
    rank: str,
    router: bool,
    container: str | None,
    previous: bool,
    tail: int,
    follow: bool,
    raw: bool,
    choose: Callable[[], Where],
) -> None:
    """Print what the pods of the LLMDeployment NAME say: by default the head of each replica.

    With several logs each line begins with its pod.
    """
    if rank != "all" and not rank.isdecimal():
        raise Refused([f"--rank {rank}: give a number, or all"])
    if previous and follow:
        raise Refused(["--previous and --follow exclude each other: a run that has ended says nothing more"])
    if router and (replica is not None or rank != "0"):
        raise Refused(["--router has no replicas and ranks: leave --replica and --rank out"])
    wanted = Wanted(router, replica, None if rank == "all" else int(rank), container, previous, tail, raw)
    where = choose()

    async def work(api: Api) -> None:
        body = await the_deployment(api, where, name)
        await (_follow(api, body, wanted) if follow else _print_all(api, body, wanted))

    run(where, work)


def sources(pods: Iterable[Object], wanted: Wanted) -> list[Source]:
    """Return the containers to read, in the order of replicas and ranks. Pure."""
    chosen = [pod for pod in _chosen(pods, wanted) if pod["spec"].get("nodeName")]
    return [source for pod in chosen for source in _of_pod(pod, wanted)]


def pending(pods: Iterable[Object], wanted: Wanted) -> list[str]:
    """Return a sentence for each pod without a node. Pure.

    An API server answers for it with a log that is empty and ends at once, as if it had run and said nothing.
    """
    waiting = [pod for pod in _chosen(pods, wanted) if not pod["spec"].get("nodeName")]
    return [
        f"pod {pod['metadata']['name']} is Pending: "
        + (pod_problem(pod.get("status") or {}) or "no node has been chosen for it yet")
        for pod in waiting
    ]


def _chosen(pods: Iterable[Object], wanted: Wanted) -> list[Object]:
    return sorted((pod for pod in pods if _is_wanted(pod, wanted)), key=lambda pod: str(pod["metadata"]["name"]))


def _is_wanted(pod: Object, wanted: Wanted) -> bool:
    labels = pod["metadata"].get("labels") or {}
    component = names.COMPONENT_ROUTER if wanted.router else names.COMPONENT_ENGINE
    if labels.get(names.LABEL_COMPONENT) != component:
        return False
    if wanted.router:
        return True
    of_replica = wanted.replica is None or labels.get(names.LABEL_REPLICA) == str(wanted.replica)
    return of_replica and (wanted.rank is None or labels.get(names.LABEL_POD_INDEX) == str(wanted.rank))


def _of_pod(pod: Object, wanted: Wanted) -> Iterator[Source]:
    metadata, spec = pod["metadata"], pod["spec"]
    every = [*(spec.get("initContainers") or ()), *spec["containers"]]
    several = wanted.router or wanted.container is not None
    status = pod.get("status") or {}
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    starts = {each["name"]: int(each.get("restartCount") or 0) for each in statuses}
    first = [_still_to_fetch(status) or spec["containers"][0]["name"]]
    shown = [container["name"] for container in (spec["containers"] if wanted.router else every)]
    for name in shown:
        if name == wanted.container or (wanted.container is None and (wanted.router or name in first)):
            title = f"{metadata['name']}/{name}" if several else metadata["name"]
            yield Source(metadata["namespace"], metadata["name"], name, starts.get(name, 0), title)


def _still_to_fetch(status: Object) -> str | None:
    """Return the container of a fetch that began and has not succeeded: the engine has nothing to say before."""
    for each in status.get("initContainerStatuses") or ():
        state = each.get("state") or {}
        waiting = (state.get("waiting") or {}).get("reason", "PodInitializing")
        failed = state.get("terminated", {}).get("exitCode", 0) != 0 or waiting != "PodInitializing"
        if each["name"] in names.FETCH_CONTAINERS and ("running" in state or failed):
            return str(each["name"])
    return None


async def _pods(api: Api, body: Object) -> list[Object]:
    metadata = body["metadata"]
    labels = f"{names.LABEL_DEPLOYMENT}={metadata['name']}"
    return await api.list("v1", "Pod", metadata["namespace"], labels=labels)


async def _print_all(api: Api, body: Object, wanted: Wanted) -> None:
    pods = await _pods(api, body)
    found, failed = sources(pods, wanted), pending(pods, wanted)
    wanting = len(found) + len(failed)
    if not wanting:
        raise Refused([_nothing(body, pods, wanted)])
    for source, colour in zip(found, itertools.cycle(_COLOURS)):
        prefix, silent = _prefix(source, colour) if wanting > 1 else "", True
        try:
            async for line in lines(api, source, wanted, follow=False):
                click.echo(prefix + (line if wanted.raw else plain(line)))
                silent = False
            if silent:
                click.echo(f"{source.title} has said nothing yet", err=True)
        except CallFailed as error:
            if error.code not in (400, 404):  # 400: not started yet, or no previous run; 404: the pod has just gone
                raise
            failed.append(f"{source.title}: {error.message}")
    if len(failed) == wanting:
        raise Refused(failed)
    for each in failed:
        click.echo(each, err=True)


async def _follow(api: Api, body: Object, wanted: Wanted) -> None:
    """Follow every source, and those that appear, until interrupted or the LLMDeployment is gone with its pods."""
    running: dict[Source, asyncio.Task[None]] = {}
    colours, told = itertools.cycle(_COLOURS), set[str]()
    while True:
        try:
            pods = await _pods(api, body)
            gone = not pods and await _is_gone(api, body)
        except CallFailed as error:
            if not _passes(error):
                raise
            await asyncio.sleep(LOOK_SECONDS)
            continue
        if gone:
            await asyncio.gather(*running.values())
            click.echo(f"LLMDeployment {body['metadata']['name']} and its pods are gone", err=True)
            return
        found = sources(pods, wanted)
        missing = pending(pods, wanted) or ([] if found or running else [_nothing(body, pods, wanted)])
        for sentence in missing:
            if sentence not in told:
                click.echo(f"{sentence}; waiting", err=True)
        told.update(missing)
        # What starts later is told from its beginning: it began while we looked.
        amount = replace(wanted, tail=-1) if running else wanted
        for source in found:
            if source not in running:
                running[source] = asyncio.create_task(_tell(api, source, amount, _prefix(source, next(colours))))
        await asyncio.sleep(LOOK_SECONDS)


async def _is_gone(api: Api, body: Object) -> bool:
    metadata = body["metadata"]
    return await api.find(names.API_VERSION, names.KIND, metadata["namespace"], metadata["name"]) is None


async def _tell(api: Api, source: Source, wanted: Wanted, prefix: str) -> None:
    """Print one source until its container ends; one that has not started yet, or a connection lost, is waited for."""
    while True:
        try:
            async for line in lines(api, source, wanted, follow=True):
                click.echo(prefix + (line if wanted.raw else plain(line)))
        except CallFailed as error:
            if error.code == 400 or _passes(error):
                await asyncio.sleep(LOOK_SECONDS)
                wanted = wanted if error.code == 400 else replace(wanted, tail=0)
                continue
            click.echo(f"{prefix}({error.message})", err=True)
        return


def _passes(error: CallFailed) -> bool:
    """Whether it is worth waiting: an API server that is away or overloaded."""
    return error.code is None or error.code == 429 or error.code >= 500


async def lines(api: Api, source: Source, wanted: Wanted, *, follow: bool) -> AsyncIterator[str]:
    """Yield the lines of one container's log. Raises CallFailed."""
    query = {"container": source.container}
    query |= {"tailLines": str(wanted.tail)} if wanted.tail >= 0 else {}
    query |= {"previous": "true"} if wanted.previous else {}
    query |= {"follow": "true"} if follow else {}
    path = path_of("v1", "Pod", source.namespace, source.pod, "log")
    rest = b""
    async with api.stream("GET", path, query) as response:
        try:
            async for chunk in response.content.iter_any():  # by hand: an engine's line may be longer than any buffer
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line.decode("utf-8", "replace")
        except (aiohttp.ClientError, OSError) as error:
            raise CallFailed(None, "", f"the log broke off: {error}", f"log of {source.title}") from error
    if rest:
        yield rest.decode("utf-8", "replace")


def _nothing(body: Object, pods: list[Object], wanted: Wanted) -> str:
    name = body["metadata"]["name"]
    engines = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(names.LABEL_REPLICA) is not None]
    if not pods or (not engines and not wanted.router):
        what = "router" if wanted.router else "engine"
        return f"LLMDeployment {name} has no {what} pods; `manta status {name}` says why"
    there = ", ".join(sorted(str(pod["metadata"]["name"]) for pod in pods))
    return f"no pod or container of LLMDeployment {name} is the one asked for; its pods are {there}"


def _prefix(source: Source, colour: str) -> str:
    return click.style(f"{source.title} | ", fg=colour)
