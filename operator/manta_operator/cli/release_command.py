"""`manta release`: lets LLMDeployments go that wait for an operator which is no more; takes our finalizer alone.

An operator that runs would put the finalizer back at once, and is the one to do this properly: so its Lease is looked
at first.
"""

import itertools
import sys
from collections.abc import Callable

import click

from manta_operator.api import names
from manta_operator.cli import leases
from manta_operator.cli.cluster import Where, in_namespace, options_of_cluster, run, the_deployment
from manta_operator.cli.failures import Refused
from manta_operator.cli.kubeconfig import Object
from manta_operator.cli.rest import JSON_PATCH, Api, CallFailed, path_of

FINALIZER = f"{names.GROUP}/operator"
_ATTEMPTS = 5
_NOT_DONE = (
    "Without the operator a deletion is not orderly: routers and engines end at the same moment instead of the "
    "routers first, requests in flight get only the pods' own time to drain, and Kubernetes collects the children."
)


@click.command()
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="All LLMDeployments of the namespace, or with -A of all.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Even while an operator runs, which may put the finalizer back.")
@options_of_cluster(everywhere=True)
def release(name: str | None, everything: bool, yes: bool, force: bool, choose: Callable[[], Where]) -> None:
    """Take the operator's finalizer off LLMDeployments, so that they can be deleted without it.

    For uninstalling, or when the operator is gone for good. Nothing else is changed: no spec, no child. With --all
    several namespaces may be given: -n team-a,team-b.
    """
    if bool(name) == everything:
        raise Refused(["say which: give the NAME of one LLMDeployment, or --all"])
    where = choose()

    async def work(api: Api) -> int:
        held = [body for body in await _chosen(api, where, name) if FINALIZER in _finalizers(body)]
        if not held:
            click.echo(f"nothing to release: no LLMDeployment in {_scope(where, name)} has the finalizer {FINALIZER}")
            return 0
        if not force:
            await _refuse_while_led(api)
        _confirm(where, held, yes=yes)
        for body in held:
            click.echo(await _release(api, body))
        return 0

    run(where, work)


async def _chosen(api: Api, where: Where, name: str | None) -> list[Object]:
    if name:
        return [await the_deployment(api, where, name)]
    places = where.namespace.split(",") if where.namespace else [None]
    return [body for place in places for body in await api.list(names.API_VERSION, names.KIND, place)]


async def _refuse_while_led(api: Api) -> None:
    found = await leases.held(api)
    if found is None:
        click.echo("you may not list Leases, so it is not known whether an operator runs", err=True)
    if not found:
        return
    click.echo(f"looking for up to {leases.longest(found)} s whether an operator renews its Lease", err=True)
    if lease := await leases.renewed(api, found):
        raise Refused(
            [
                f"an operator runs, {leases.in_words(lease)}: it takes its finalizer off itself when an LLMDeployment "
                "is deleted, and would put it back now. Stop it first, or use --force"
            ]
        )


def _confirm(where: Where, held: list[Object], *, yes: bool) -> None:
    click.echo(_NOT_DONE, err=True)
    if yes:
        return
    listed = ", ".join(f"{body['metadata']['namespace']}/{body['metadata']['name']}" for body in held)
    if not sys.stdin.isatty():
        raise Refused([f"would release {listed}: nobody can be asked here, so say --yes"])
    click.confirm(f"Release {listed} on {where.target.title}?", abort=True, err=True)


async def _release(api: Api, body: Object) -> str:
    """Take the finalizer off one object and say so; whatever else changes it meanwhile is kept."""
    metadata = body["metadata"]
    path = path_of(names.API_VERSION, names.KIND, metadata["namespace"], metadata["name"])
    what = f"{metadata['namespace']}/{metadata['name']}"
    for attempt in itertools.count(1):
        try:
            after = await api.call("PATCH", path, body=removal(_finalizers(body)), kind=JSON_PATCH)
        except CallFailed as error:
            if error.code == 404:
                return f"{what} is gone already"
            if error.code not in (409, 422) or attempt == _ATTEMPTS:
                raise
            body = await api.find(names.API_VERSION, names.KIND, metadata["namespace"], metadata["name"]) or body
            if FINALIZER not in _finalizers(body):
                return f"{what} had been released already"
        else:
            return f"{what} released{_still_held(after)}"
    raise AssertionError("the loop only ends by returning")


def removal(finalizers: list[str]) -> list[Object]:
    """Return the JSON patch that takes our finalizer away if it is still where it was. Pure."""
    path = f"/metadata/finalizers/{finalizers.index(FINALIZER)}"
    return [{"op": "test", "path": path, "value": FINALIZER}, {"op": "remove", "path": path}]


def _still_held(body: Object) -> str:
    others = ", ".join(_finalizers(body))
    return f"; others hold it still: {others}" if others else ""


def _finalizers(body: Object) -> list[str]:
    return list((body.get("metadata") or {}).get("finalizers") or ())


def _scope(where: Where, name: str | None) -> str:
    return f"{in_namespace(where.namespace)}, name {name}" if name else in_namespace(where.namespace)
