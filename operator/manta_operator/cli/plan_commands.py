"""`manta plan` and `manta render`: what would be done, without a cluster. They print the pure core's answer."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from manta_operator.api import names
from manta_operator.api.autoscaling import AutoscalingSpec
from manta_operator.api.models import ModelSpec, RouterSpec
from manta_operator.builders.model_source import is_fetched
from manta_operator.cli import compare_command, diff_command, fit_table, options
from manta_operator.cli.cluster import Where, options_of_cluster
from manta_operator.cli.documents import documents
from manta_operator.cli.facts import Lookup, options_of_facts
from manta_operator.cli.failures import Refused
from manta_operator.cli.manifests import Planned, plan_files
from manta_operator.cli.picture import bounds
from manta_operator.cli.table import GAP, fold, terminal_width
from manta_operator.planning.fit import gib
from manta_operator.planning.known import Known
from manta_operator.planning.status import endpoint


@click.command()
@options.files
@options_of_facts
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--diff", is_flag=True, help="Compare with a cluster: what would an apply change?")
@click.option("--compare", is_flag=True, help="Compare the accelerators: of the cluster, or of the catalog.")
@options_of_cluster()
def plan(
    paths: tuple[Path, ...], sources: Lookup, output: str, diff: bool, compare: bool, choose: Callable[[], Where]
) -> None:
    """Say what Manta would do with the LLMDeployments in files, and why; no cluster is needed.

    With --diff it is asked of a cluster, and nothing is changed there: exit code 0 means no difference, 1 that there
    are some, 2 that it cannot be said. With --compare the models are put on every kind of accelerator that the nodes of
    a cluster have, or where none answers, on those that Manta knows. The cluster's options count only with these two.
    """
    if diff and compare:
        raise Refused(["--diff and --compare exclude each other: leave one out"])
    if compare:
        compare_command.show(choose, paths, sources, output)
        return
    if diff:
        if output != "table":
            raise Refused(["--diff and --output exclude each other: leave one out"])
        diff_command.show(choose(), paths, sources)
        return
    planned = plan_files(paths, sources)
    if output == "json":
        click.echo(json.dumps([as_json(entry) for entry in planned], indent=2))
        return
    for entry in planned:
        print_plan(entry)


@click.command()
@options.files
@options_of_facts
def render(paths: tuple[Path, ...], sources: Lookup) -> None:
    """Print the objects Manta would apply, as YAML, in the order it applies them."""
    for entry in plan_files(paths, sources):
        if entry.desired.plan.shape.pods > 1:
            secret = names.group_secret_name(entry.deployment.name)
            click.echo(f"# Secret {secret} (key token, random) is made by the operator, once.")
        click.echo(documents(entry.desired.objects), nl=False)


def as_json(entry: Planned) -> dict[str, Any]:
    """Return the plan as plain values, for scripts; sizes in bytes."""
    plan_ = entry.desired.plan
    return {
        "name": entry.deployment.name,
        "namespace": entry.deployment.namespace,
        "replicas": len(plan_.groups),
        "bounds": list(bounds(entry.body) or ()) or None,
        "revision": plan_.revision,
        "shape": {
            "tensor": plan_.shape.tensor,
            "pipeline": plan_.shape.pipeline,
            "data": plan_.shape.data,
            "expert": plan_.shape.expert,
            "acceleratorsPerPod": plan_.shape.per_pod,
            "podsPerReplica": plan_.shape.pods,
            "executor": plan_.shape.executor,
        },
        "fit": fit_table.as_json(plan_),
        "facts": {
            "basis": entry.facts.basis if entry.facts else None,
            "source": entry.known.source or None,
            "why": entry.known.why or None,
        },
        "objects": [f"{obj['kind']}/{obj['metadata']['name']}" for obj in entry.desired.objects],
        "endpoint": endpoint(entry.deployment),
    }


def print_plan(entry: Planned) -> None:
    """Print one plan for people: on a terminal folded to its width, else one line a fact."""
    rows = {name: text for name, text in _facts(entry).items() if text}
    widest = max(map(len, rows)) + GAP
    click.secho(f"{entry.deployment.namespace}/{entry.deployment.name}", italic=True)
    for name, text in rows.items():
        first, *more = fold(text, terminal_width() - widest) if sys.stdout.isatty() else [text]
        if name == "fit":
            verdict, colour = _VERDICTS[entry.desired.plan.fit.fits]
            first = click.style(verdict, fg=colour) + first.removeprefix(verdict)
        click.echo(click.style(name.ljust(widest), bold=True) + first)
        for line in more:
            click.echo(" " * widest + line)
        if name == "fit":
            _print_fit(entry, widest)


def _print_fit(entry: Planned, indent: int) -> None:
    """Print the numbers below the verdict, and why no smaller shape was taken."""
    width = terminal_width() if sys.stdout.isatty() else None
    plan_ = entry.desired.plan
    for line in fit_table.table(plan_, width, indent):
        click.echo(line)
    for text in fit_table.rejected(plan_.rejected):
        first, *more = [text] if width is None else fold(text, width - indent - GAP)
        click.echo(" " * indent + click.style(f"not {first}", dim=True))
        for line in more:
            click.echo(" " * (indent + GAP) + click.style(line, dim=True))


def _facts(entry: Planned) -> dict[str, str]:
    """Return what is said of a plan, by name; empty where there is nothing to say."""
    deployment, plan_ = entry.deployment, entry.desired.plan
    router = deployment.spec.router
    pods = len(plan_.groups) * plan_.shape.pods
    return {
        "model": f"{deployment.spec.model.uri}{_architecture(entry)}",
        "facts": _source(entry.known),
        "weights": _weights(deployment.spec.model),
        "adapters": "; ".join(each.message for each in plan_.decisions if each.reason == "Adapters"),
        "replicas": f"{len(plan_.groups)}, each {plan_.shape}: {pods} pods on {deployment.spec.accelerator.type}",
        "autoscaling": _autoscaling(deployment.spec.autoscaling, len(plan_.groups)),
        "fit": f"{_VERDICTS[plan_.fit.fits][0]}: {plan_.fit.message}"
        + (_ALL_THE_SAME if plan_.fit.fits == "False" else ""),
        "advice": "; ".join(each.message for each in plan_.decisions if each.reason == "Advice"),
        "memory": f"{gib(plan_.fit.memory_per_pod)} of host memory for each engine pod, unless resources say otherwise"
        if plan_.fit.memory_per_pod
        else "",
        "router": _router(router),
        "endpoint": endpoint(deployment),
        "revision": f"{plan_.revision}, {len(entry.desired.objects)} objects (see them with `manta render`)",
    }


def _autoscaling(wish: AutoscalingSpec | None, begun: int) -> str:
    """Tell between which bounds the demand asks for replicas, and when there are none."""
    if wish is None:
        return ""
    zero = wish.scale_to_zero
    none = (
        f", none after {zero.after_seconds} s without a request; the next one waits up to {zero.hold_seconds} s for one"
        if wish.min_replicas == 0
        else ""
    )
    return f"begins with {begun}, then {wish.min_replicas} to {wish.max_replicas} replicas as the demand asks{none}"


def _source(known: Known) -> str:
    """Tell what the facts were read from, and where that is."""
    if known.facts is None:
        return ""
    what = {"catalog": "not read from the checkpoint", "config.json": "its config.json alone"}.get(
        known.facts.basis, ""
    )
    return ", ".join(part for part in (known.source, what, known.why) if part)


def _weights(model: ModelSpec) -> str:
    """Tell what brings the weights to the engine, and where they stay; nothing where they are there already."""
    if model.uri.startswith("oci://"):
        return "an image volume: needs Kubernetes 1.35, or 1.33 with the feature gate ImageVolume"
    if not is_fetched(model):
        return ""
    cache = model.cache
    place = f"claim {cache.claim}" if cache.claim else f"{cache.host_path} of the node" if cache.host_path else ""
    source = f" from {model.endpoint}" if model.endpoint else ""
    secret = f" with Secret {model.credentials_secret}" if model.credentials_secret else ""
    stays = f"into {place}, once" if place else "by every new pod, into an emptyDir"
    return f"fetched{source}{secret} {stays}, before the engine starts"


def _router(router: RouterSpec) -> str:
    """Tell what answers clients, and what is switched on of all that can be."""
    what = "Envoy and endpoint picker" if router.mode == "envoy" else "endpoint picker of an InferencePool"
    hold = router.hold
    said = {
        f"policy {router.policy}": True,
        f"keys of Secret {router.auth.secret if router.auth else ''}": router.auth,
        f"{len(router.tenants)} tenant{'s' * (len(router.tenants) != 1)} with limits": router.tenants,
        f"holds {hold.queue_size} requests for {hold.seconds} s each": hold.seconds and hold.queue_size,
        f"response cache of {router.cache.size if router.cache else ''}": router.cache,
        f"traces to {router.tracing.endpoint if router.tracing else ''}": router.tracing,
    }
    return ", ".join([f"{router.replicas} x {what}", *(text for text, there in said.items() if there)])


_ALL_THE_SAME = "; it is started all the same, since spec.fit.policy is warn"
_VERDICTS = {"True": ("fits", "green"), "False": ("does not fit", "red"), "Unknown": ("unknown", "yellow")}


def _architecture(entry: Planned) -> str:
    facts = entry.facts
    if facts is None:
        return ""
    return (
        f" ({facts.architecture}, {facts.layers} layers, {facts.attention_heads} heads, {facts.kv_heads} KV heads"
        + (f", {gib(facts.weights_bytes)} of weights)" if facts.weights_bytes else ")")
    )
