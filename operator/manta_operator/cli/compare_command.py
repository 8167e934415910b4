"""`manta plan --compare`: each model of the files on every kind of accelerator, of the cluster or of the catalog.

The kinds are those of the cluster's nodes where a cluster answers; otherwise those of the catalog. Which of the two is
said, since one is what there is and the other what there might be.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from manta_operator.api.models import LLMDeployment, parse
from manta_operator.cli.cluster import Where
from manta_operator.cli.facts import Lookup, find_all
from manta_operator.cli.failures import Refused
from manta_operator.cli.kubeconfig import NoCluster
from manta_operator.cli.manifests import admitted
from manta_operator.cli.rest import CallFailed, connect
from manta_operator.cli.table import Cell, Column, lay_out, terminal_width
from manta_operator.planning.compare import Row, compare
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.kinds import Kind, of_catalog, of_nodes
from manta_operator.planning.known import Known, asked_of

_COLUMNS = (
    Column("ACCELERATOR"),
    Column("FITS"),
    Column("REPLICA", 2),
    Column("KV TOKENS", 3),
    Column("REQUESTS", 1),
    Column("TOKENS/S ALONE", 5),
    Column("AT ONCE", 6),
    Column("PER HOUR", 4),
    Column("WHY", 7),
)
_VERDICTS = {"True": ("yes", "green"), "False": ("no", "red"), "Unknown": ("unknown", "yellow")}
_HINT = "tokens/s are estimates (docs/performance.md); the split is left open, whatever the file says of it"


def show(choose: Callable[[], Where], paths: Iterable[Path], sources: Lookup, output: str) -> None:
    """Print the comparison. Raises Refused where a file or a checkpoint is wrong."""
    bodies = [body for _, body in admitted(paths)]
    known = find_all((asked_of(body) for body in bodies), sources.on_this_machine())
    for found in known.values():
        if found.trouble:
            raise Refused([f"spec.model.uri: {found.trouble}; repair the checkpoint or name another one"])
    kinds, where = _kinds(choose, sources)
    compared = [(parse(body), known[asked_of(body)]) for body in bodies]
    if output == "json":
        click.echo(json.dumps([_as_json(each, found, kinds, where) for each, found in compared], indent=2))
        return
    for deployment, found in compared:
        _print(deployment, found, kinds, where)


def _kinds(choose: Callable[[], Where], sources: Lookup) -> tuple[tuple[Kind, ...], str]:
    """Return the kinds to compare and where they come from, in words."""
    try:
        where = choose()
        nodes = asyncio.run(_nodes(where))
    except (Refused, NoCluster, CallFailed) as error:
        if _is_named():
            raise error if isinstance(error, Refused) else Refused([f"--compare: the cluster: {error}"]) from error
        reason = str(error).partition(";")[0]
        return of_catalog(sources.own.accelerators), f"the catalog of accelerators ({reason})"
    kinds = of_nodes(nodes, sources.own.accelerators)
    if not kinds:
        return of_catalog(sources.own.accelerators), f"the catalog of accelerators ({where} has no node with one)"
    return kinds, f"the nodes of {where}"


def _is_named() -> bool:
    """Whether the command line names a cluster: then another answer than from there would mislead."""
    source = click.get_current_context().get_parameter_source
    return any(source(name) is ParameterSource.COMMANDLINE for name in ("kubeconfig", "context", "state"))


async def _nodes(where: Where) -> list[dict[str, Any]]:
    async with connect(where.target) as api:
        return await api.list("v1", "Node")


def _print(deployment: LLMDeployment, known: Known, kinds: Iterable[Kind], where: str) -> None:
    click.secho(f"{deployment.namespace}/{deployment.name}", italic=True, nl=False)
    click.echo(f"  {deployment.spec.model.uri} on {where}")
    rows = compare(deployment.spec, known.facts, kinds)
    width = terminal_width() if sys.stdout.isatty() else None
    for line in lay_out(_COLUMNS, [_cells(row) for row in rows], width):
        click.echo(line)
    if known.facts is None:
        click.echo(f"nothing is known of the model: {known.why or 'its checkpoint cannot be seen from here'}")
    click.secho(_HINT, dim=True)


def _cells(row: Row) -> list[str | Cell]:
    verdict, colour = _VERDICTS[row.fits]
    if row.choice is None:
        return [_name(row), Cell(verdict, colour), "", "", "", "", "", "", row.why]
    fit, speed = row.choice.fit, row.performance
    holds = "" if fit.concurrency is None else f"{fit.concurrency:.1f} of {fit.max_model_len}"
    return [
        _name(row),
        Cell(verdict if row.enough else "too few", colour if row.enough else "yellow"),
        f"{row.choice.shape.ranks} ({row.choice.shape.cut})",
        "" if fit.kv_cache_tokens is None else str(fit.kv_cache_tokens),
        holds,
        _speed(speed.alone) if speed else "",
        f"{_speed(speed.together)} by {speed.requests}" if speed else "",
        "" if row.per_hour is None else f"{row.per_hour:.2f}",
        row.why,
    ]


def _name(row: Row) -> str:
    kind = row.kind
    there = f" ({kind.nodes} x {kind.per_node})" if kind.nodes else ""
    return f"{kind.name}{there}{' *' if row.asked else ''}"


def _speed(rate: Estimate) -> str:
    return f"{rate.low:.0f}-{rate.high:.0f}"


def _as_json(deployment: LLMDeployment, known: Known, kinds: Iterable[Kind], where: str) -> dict[str, Any]:
    """Return the comparison as plain values; what is not known is null."""
    return {
        "name": deployment.name,
        "namespace": deployment.namespace,
        "model": deployment.spec.model.uri,
        "comparedWith": where,
        "rows": [_row_as_json(row) for row in compare(deployment.spec, known.facts, kinds)],
    }


def _row_as_json(row: Row) -> dict[str, Any]:
    shape, fit = (row.choice.shape, row.choice.fit) if row.choice else (None, None)
    speed = row.performance
    return {
        "accelerator": row.kind.name,
        "asked": row.asked,
        "nodes": row.kind.nodes,
        "perNode": row.kind.per_node,
        "fits": row.fits,
        "enough": row.enough,
        "why": row.why,
        "accelerators": row.accelerators,
        "tensor": shape.tensor if shape else None,
        "pipeline": shape.pipeline if shape else None,
        "pods": shape.pods if shape else None,
        "kvCacheTokens": fit.kv_cache_tokens if fit else None,
        "concurrency": fit.concurrency if fit else None,
        "perHour": row.per_hour,
        "estimate": {
            "requests": speed.requests,
            "tokensPerSecondAlone": _bounds(speed.alone),
            "tokensPerSecondTogether": _bounds(speed.together),
            "firstTokenSeconds": _bounds(speed.first_token),
        }
        if speed
        else None,
    }


def _bounds(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
