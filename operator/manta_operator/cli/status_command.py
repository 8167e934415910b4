"""`manta status`: all LLMDeployments in a table, or everything about one; once, or again and again."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import click

from manta_operator.api import names
from manta_operator.cli import leases, status_text, status_why
from manta_operator.cli.cluster import Where, in_namespace, options_of_cluster, run, the_deployment
from manta_operator.cli.documents import documents
from manta_operator.cli.kubeconfig import Object
from manta_operator.cli.picture import STALE, Picture, Summary, picture, summary
from manta_operator.cli.rest import Api, CallFailed
from manta_operator.cli.table import terminal_width

EXIT_NOT_READY = 1
WATCH_SECONDS = 2.0
_FORMATS = ["table", "wide", "json", "yaml"]


@click.command()
@click.argument("name", required=False)
@click.option("-o", "--output", type=click.Choice(_FORMATS), default="table", show_default=True)
@click.option("--why", is_flag=True, help="Say who rules the number of replicas, and what it was decided from.")
@click.option("-w", "--watch", is_flag=True, help="Show it again whenever it changes, until Ctrl-C.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 unless everything shown is Ready.")
@options_of_cluster(everywhere=True)
def status(name: str | None, output: str, why: bool, watch: bool, exit_code: bool, choose: Callable[[], Where]) -> None:
    """Show how the LLMDeployments are, or with NAME everything about one.

    Exits with 0 when it could be shown, 2 when not; see --exit-code for scripts that wait for Ready.
    """
    if why and name is None:
        raise click.UsageError("--why is about one LLMDeployment: manta status NAME --why")
    where = choose()
    about = _About(name, output, why)

    async def work(api: Api) -> int:
        shown = await _shown(api, where, about)
        if watch:
            await _watch(api, where, about, shown)
        click.echo(shown.text)
        if shown.stale:
            click.secho(await _hint(api, where), fg="yellow", err=True)
        return EXIT_NOT_READY if exit_code and not shown.ready else 0

    run(where, work)


@dataclass(frozen=True)
class _About:
    """What to show: of one deployment or of all, in which form, and whether only why it has so many replicas."""

    name: str | None
    output: str
    why: bool


@dataclass(frozen=True)
class Shown:
    """What is printed, and what it says; `stale` tells that the operator has not looked at something in it."""

    text: str
    content: Any
    ready: bool
    stale: bool = False


async def _hint(api: Api, where: Where) -> str:
    """Return what is known of the operator."""
    if where.target.box:
        return "the operator's log is logs/operator.log in the box's folder"
    return leases.hint(await leases.held(api), datetime.now(UTC))


async def _watch(api: Api, where: Where, about: _About, before: Shown) -> None:
    """Print, and print anew when it changed, for ever; an API server that is away for a while is waited for."""
    _print_anew(before.text, first=True)
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            after = await _shown(api, where, about)
        except CallFailed as error:
            if error.code in (401, 403, 404):
                raise
            click.echo(f"{error}; trying again", err=True)
            continue
        # In a pipe an age that goes on is no news; on a terminal it is drawn.
        if after.text != before.text and (sys.stdout.isatty() or after.content != before.content):
            _print_anew(after.text)
            before = after


def _print_anew(text: str, *, first: bool = False) -> None:
    if sys.stdout.isatty():
        click.clear()
    elif not first:
        click.echo()
    click.echo(text)


async def _shown(api: Api, where: Where, about: _About) -> Shown:
    now, width = datetime.now(UTC), terminal_width() if sys.stdout.isatty() else None
    structured, wide = about.output in ("json", "yaml"), about.output == "wide"
    if about.name is not None:
        return await _one(api, await the_deployment(api, where, about.name), about, now, None if wide else width)
    found = await _summaries(api, where)
    ready, stale = bool(found) and all(each.ready for each in found), any(each.state == STALE for each in found)
    if structured:
        return Shown(_structured([asdict(each) for each in found], about.output), found, ready, stale)
    if not found:
        return Shown(f"there is no LLMDeployment in {in_namespace(where.namespace)}", found, ready)
    namespaces = where.namespace is None and len({each.namespace for each in found} | {where.target.namespace}) > 1
    lines = status_text.table(found, now, None if wide else width, namespaces=namespaces, wide=wide)
    return Shown("\n".join(lines), found, ready, stale)


async def _one(api: Api, body: Object, about: _About, now: datetime, width: int | None) -> Shown:
    structured = about.output in ("json", "yaml")
    if about.why:
        content, shown = status_why.plain(body), summary(body)
        text = _structured(content, about.output) if structured else "\n".join(status_why.why(body, now, width))
        return Shown(text, content, shown.ready, shown.state == STALE)
    seen = await _picture(api, body)
    text = _structured(_plain(seen), about.output) if structured else "\n".join(status_text.full(seen, now, width))
    return Shown(text, seen, seen.summary.ready, seen.summary.state == STALE)


async def _summaries(api: Api, where: Where) -> list[Summary]:
    bodies = await api.list(names.API_VERSION, names.KIND, where.namespace)
    services = await _services(api, where) if bodies else {}
    found = [summary(body, services.get((body["metadata"]["namespace"], body["metadata"]["name"]))) for body in bodies]
    return sorted(found, key=lambda each: (each.namespace, each.name))


async def _services(api: Api, where: Where) -> dict[tuple[str, str], Object]:
    """Return the Services where they say more than the status does: on a box."""
    if not where.target.server.startswith("https://127."):
        return {}
    labels = f"{names.LABEL_MANAGED_BY}=manta,{names.LABEL_COMPONENT}={names.COMPONENT_ROUTER}"
    listed = await _or_none(api.list("v1", "Service", where.namespace, labels=labels)) or []
    return {(body["metadata"]["namespace"], body["metadata"]["name"]): body for body in listed}


async def _picture(api: Api, body: Object) -> Picture:
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    labels = f"{names.LABEL_DEPLOYMENT}={name}"
    unread: list[str] = []

    async def read(what: str, call: Any) -> Any:
        try:
            return await call
        except CallFailed as error:
            if error.code != 403:
                raise
            unread.append(f"{what}: {error.message}")
            return None

    statefulsets = await read("replicas", api.list("apps/v1", "StatefulSet", namespace, labels=labels))
    pods = await read("pods", api.list("v1", "Pod", namespace, labels=labels))
    service = await read("Service", api.find("v1", "Service", namespace, name))
    events = await read("events", _events(api, namespace, body["metadata"]["uid"]))
    return picture(body, statefulsets or (), pods or (), events or (), service, unread)


async def _events(api: Api, namespace: str, uid: str) -> list[Object]:
    own = await api.list("v1", "Event", namespace, fields=f"involvedObject.uid={uid}")
    warnings = await api.list("v1", "Event", namespace, fields="type=Warning")
    return [*own, *(each for each in warnings if (each.get("involvedObject") or {}).get("uid") != uid)]


async def _or_none(call: Any) -> Any:
    """Return what a read gives that only decorates; None if it is not allowed."""
    try:
        return await call
    except CallFailed as error:
        if error.code == 403:
            return None
        raise


def _plain(seen: Picture) -> Object:
    plain = asdict(seen)
    head: Object = plain.pop("summary")
    return head | {"observedGeneration": plain.pop("observed_generation")} | plain


def _structured(value: Any, output: str) -> str:
    text = json.dumps(value, indent=2, default=list)
    return text if output == "json" else documents([json.loads(text)]).rstrip()
