"""`manta plan --diff`: what applying a file would change, on a live cluster, without changing anything.

The API server merges and defaults (a dry run), the real plan decides, and the children are compared through dry runs as
well. Exit code as of `kubectl diff`: 0 nothing would change, 1 something would, 2 it cannot be said.
"""

import asyncio
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from manta_operator.api import names
from manta_operator.api.load import InvalidManifest, load
from manta_operator.api.models import parse
from manta_operator.api.strict_yaml import parse_documents
from manta_operator.builders.desired import Desired
from manta_operator.builders.protection import operator_of
from manta_operator.cli import diff, rehearsal
from manta_operator.cli.cluster import Where, run
from manta_operator.cli.facts import Lookup, find
from manta_operator.cli.failures import Refused
from manta_operator.cli.kubeconfig import Object
from manta_operator.cli.manifests import read_text
from manta_operator.cli.options import THIS_MACHINE
from manta_operator.cli.rehearsal import Live, Rehearsal
from manta_operator.cli.rest import APPLY, MERGE, Api, CallFailed, path_of
from manta_operator.cli.table import fold, terminal_width
from manta_operator.placement.room import Room, room, survey
from manta_operator.planning.autoscale import asking, begin
from manta_operator.planning.known import Known, asked_of
from manta_operator.planning.previous import recall

EXIT_DIFFERENT = 1
_AT_ONCE = 8


@dataclass(frozen=True)
class Change:
    """What would become of one child: verb is create, change, prune, refuse or unknown."""

    verb: str
    child: str
    detail: tuple[str, ...] = ()


def show(where: Where, paths: Iterable[Path], sources: Lookup) -> None:
    """Print what applying the files would change, and exit. Raises Refused."""
    manifests = [(str(path), body) for path in paths for body in _manifests(path)]
    mapped = (THIS_MACHINE if where.target.box else {}) | dict(sources.host_paths)

    async def work(api: Api) -> int:
        looked = replace(sources, host_paths=mapped)
        different = [await _one(api, where, source, body, looked) for source, body in manifests]
        return EXIT_DIFFERENT if any(different) else 0

    run(where, work)


def _manifests(path: Path) -> list[Object]:
    """Return the LLMDeployments of a file as they are written: what is left out must stay out of a dry run."""
    text = read_text(path)
    try:
        load(text, str(path))
    except InvalidManifest as error:
        raise Refused(map(str, error.problems)) from error
    return [body for body in parse_documents(text) if isinstance(body, dict) and body.get("kind") == names.KIND]


async def _one(api: Api, where: Where, source: str, manifest: Object, sources: Lookup) -> bool:
    """Print the differences of one LLMDeployment; return whether there are any."""
    namespace = _namespace(where, source, manifest)
    manifest = manifest | {"metadata": manifest["metadata"] | {"namespace": namespace}}
    title = f"{namespace}/{manifest['metadata']['name']}"
    live = await api.find(names.API_VERSION, names.KIND, namespace, manifest["metadata"]["name"])
    merged, conflict = await _dry_run(api, live, manifest)
    difference = diff.unified(live, merged)
    if not difference:
        click.echo(f"{title}: no difference")
        return False
    click.echo("\n".join(difference))
    if conflict:
        click.secho(f"\na server-side apply without --force-conflicts would be refused: {conflict}", fg="yellow")
    known = await find(asked_of(merged), await _with_own(api, merged, sources))
    if known.trouble:
        raise Refused([f"{source}: spec.model.uri: {known.trouble}; repair the checkpoint or name another one"])
    await _consequences(api, live, merged, known)
    return True


def _namespace(where: Where, source: str, manifest: Object) -> str:
    written, name = manifest["metadata"].get("namespace"), manifest["metadata"]["name"]
    if written and where.named and written != where.namespace:
        raise Refused([f"{source}: {name}: metadata.namespace is {written}, not {where.namespace}: drop --namespace"])
    return str(written or where.namespace or where.target.namespace)


async def _with_own(api: Api, body: Object, sources: Lookup) -> Lookup:
    """Look into the catalog that the operator reads, too, where one may: it has the name that the chart gives it."""
    if sources.where:
        return sources
    metadata = body["metadata"]
    policy = await _policy(api, metadata["namespace"], f"{metadata['name']}-{names.COMPONENT_ROUTER}")
    place = operator_of(policy)
    try:
        found = await api.find("v1", "ConfigMap", place, names.CATALOG)
    except CallFailed as error:
        if error.code != 403:
            raise
        click.secho(f"\n{error.message}: what is in that catalog does not count here", fg="yellow")
        return sources
    return sources.catalog(found.get("data") or {}, f"ConfigMap {place}/{names.CATALOG}") if found else sources


async def _dry_run(api: Api, live: Object | None, manifest: Object) -> tuple[Object, str]:
    """Return the object as an apply would leave it, and with whom it would conflict, if with anybody."""
    metadata = manifest["metadata"]
    path = path_of(names.API_VERSION, names.KIND, metadata["namespace"], metadata["name"])
    query = {"dryRun": "All", "fieldManager": "kubectl-client-side-apply", "fieldValidation": "Strict"}
    if patch := diff.merge_patch(live, manifest):
        return await api.call("PATCH", path, query, patch, MERGE), ""
    query["fieldManager"] = diff.field_manager(live)
    try:
        return await api.call("PATCH", path, query, manifest, APPLY), ""
    except CallFailed as error:
        if error.code != 409:
            raise
        forced = await api.call("PATCH", path, query | {"force": "true"}, manifest, APPLY)
        return forced, " ".join(error.message.split())


async def _consequences(api: Api, live: Object | None, merged: Object, known: Known) -> None:
    """Print what the operator would do about it."""
    deployment, status = parse(merged), (live or {}).get("status") or {}
    deployment = asking(deployment, begin(deployment, status))
    children = await _children(api, deployment.namespace, deployment.name) if live else Live((), (), (), time.time())
    previous = recall(deployment.spec, status)
    rehearse = partial(rehearsal.rehearse, deployment, known.facts, unseen=known.why, extra=known.accelerators)
    outcome, words = rehearse(children, previous), ""
    if isinstance(outcome, Rehearsal) and "room" in outcome.first.plan.wants:
        free, words = await _room(api, outcome.first)
        outcome = rehearse(children, previous, free)
    if not isinstance(outcome, Rehearsal):
        click.echo("\nThe operator could not plan this:")
        for problem in outcome:
            _say(str(problem))
        return
    plan = outcome.first.plan
    _print_plan(plan, status, unseen=known.facts is None and deployment.spec.model.uri.startswith("file://"))
    click.echo("\nChildren:")
    for change in await _changes(api, outcome, merged["metadata"]["uid"]):
        _say(f"{change.verb:8}{change.child}")
        for line in change.detail:
            _say(line, 10)
    _print_rollout(outcome, status, words)


def _print_plan(plan: Any, status: Object, *, unseen: bool) -> None:
    before = status.get("revision")
    if before is None:
        click.echo(f"\nRevision {plan.revision}, the first")
    elif before == plan.revision:
        click.echo(f"\nRevision {plan.revision} stays: no engine pod is replaced")
    else:
        click.echo(f"\nRevision {before} -> {plan.revision}: every engine pod is replaced")
    _say(f"each replica is {plan.shape}")
    _say(f"fit: {plan.fit.message}")
    if unseen:
        _say("where the operator sees that checkpoint, revision and fit may differ")


def _print_rollout(outcome: Rehearsal, status: Object, room: str) -> None:
    rolls = status.get("revision") not in (None, outcome.first.plan.revision)
    stands = rolls and bool(outcome.end) and not outcome.steps
    if not outcome.steps and not stands:
        return
    click.echo(
        f"\n{'Rollout' if rolls else 'Steps'}, {'which waits' if stands else 'if every new replica comes to serve'}:"
    )
    for line in [f"room: {room}"] * bool(room) + rehearsal.sentences(outcome.steps):
        _say(line)
    if outcome.end:
        _say(outcome.end if stands else f"then: {outcome.end}")


def _say(text: str, indent: int = 2) -> None:
    """Print a sentence, folded where a terminal asks for it."""
    for line in fold(text, terminal_width() - indent) if sys.stdout.isatty() else [text]:
        click.echo(" " * indent + line)


async def _room(api: Api, desired: Desired) -> tuple[Room | None, str]:
    """Return how many more groups fit on the nodes now, and that in words; None where one may not look."""
    try:
        nodes, pods = await asyncio.gather(api.list("v1", "Node"), api.list("v1", "Pod"))
    except CallFailed as error:
        if error.code != 403:
            raise
        return None, f"not known: {error.message}"
    found = room(desired.template, desired.plan.shape.pods, survey(nodes, pods))
    return found, found.sentence


async def _children(api: Api, namespace: str, name: str) -> Live:
    labels = f"{names.LABEL_DEPLOYMENT}={name}"
    statefulsets, pods, deployments, policy = await asyncio.gather(
        api.list("apps/v1", "StatefulSet", namespace, labels=labels),
        api.list("v1", "Pod", namespace, labels=f"{labels},{names.LABEL_COMPONENT}={names.COMPONENT_ENGINE}"),
        api.list("apps/v1", "Deployment", namespace, labels=labels),
        _policy(api, namespace, f"{name}-{names.COMPONENT_ROUTER}"),
    )
    return Live(tuple(statefulsets), tuple(pods), tuple(deployments), time.time(), operator_of(policy))


async def _policy(api: Api, namespace: str, name: str) -> Object | None:
    """Return the router's NetworkPolicy, which tells where the operator is; None where one may not look."""
    try:
        return await api.find("networking.k8s.io/v1", "NetworkPolicy", namespace, name)
    except CallFailed as error:
        if error.code != 403:
            raise
        return None


async def _changes(api: Api, outcome: Rehearsal, uid: str) -> list[Change]:
    """Compare every child the first plan wants with what is there."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(child: Object) -> Change | None:
        async with limit:
            return await _child(api, child, uid)

    found = await asyncio.gather(*(one(child) for child in outcome.first.objects))
    pruned = [Change("prune", f"StatefulSet/{group.name}") for group in outcome.first.plan.prune]
    return [change for change in found if change] + pruned


async def _child(api: Api, child: Object, uid: str) -> Change | None:
    metadata, title = child["metadata"], f"{child['kind']}/{child['metadata']['name']}"
    try:
        live = await api.find(child["apiVersion"], child["kind"], metadata["namespace"], metadata["name"])
        if live is None:
            return Change("create", title)
        if owner := diff.foreign(live, uid):
            return Change("refuse", title, (f"it exists and belongs to {owner}: delete or rename it",))
        path = path_of(child["apiVersion"], child["kind"], metadata["namespace"], metadata["name"])
        query = {"dryRun": "All", "fieldManager": names.FIELD_MANAGER, "force": "true"}
        merged = await api.call("PATCH", path, query, child, APPLY)
    except CallFailed as error:
        if error.code is None or error.code in (401, 429) or error.code >= 500:
            raise
        return Change("unknown", title, (error.message,))
    lines = diff.changes({"apiVersion": child["apiVersion"], "kind": child["kind"]} | live, merged)
    return Change("change", title, tuple(lines)) if lines else None
