"""`make bench-operator`: what the operator does with many LLMDeployments, on a real API server where there is one.

docs/benchmarks.md says what is measured and how to read it.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import SkipTest

import phases
import uvloop
from bare import Bare, apply_all
from chaos_api import Api, Refused
from chaos_operator import Operator
from chaos_player import Player, add_namespace, add_node
from cluster_server import Server, found_alone
from report import Goal, table

from manta_operator.api.crd import custom_resource_definition

BUSY, BARE = "manta-bench", "manta-bench-bare"
BARE_COUNT = 300
"""LLMDeployments of the bare loop, half of them before and half after; fewer do not fill the API server's queues."""
RESYNC_SECONDS = 60
REST_SECONDS = 130.0
"""Two resyncs of every object and a margin: as many as happen in twenty minutes at the default of 600 s."""
OUTPUT = Path("build/bench/operator.json")


@dataclass(frozen=True)
class Options:
    """How much to do."""

    count: int
    changes: int
    rest_seconds: float
    pause: float


async def run(options: Options) -> dict[str, Any]:
    """Run all phases; return what was measured."""
    with (
        tempfile.TemporaryDirectory(prefix="manta-bench-") as folder,
        found_alone(Path(folder) / "server") as server,
    ):
        name = f"{server.what}, {server.version}"
        say(f"on {name}")
        api = Api(server.kubeconfig)
        try:
            await prepare(api)
            found = await measure(options, server, api, Path(folder))
            await clean(api)
            return {"server": name} | found
        finally:
            await api.close()


async def measure(options: Options, server: Server, api: Api, folder: Path) -> dict[str, Any]:
    """All phases on a server that is prepared."""
    limit = 120 + options.count * 1.5
    owners = await phases.make(api, BARE, min(options.count, BARE_COUNT))
    half = len(owners) // 2
    bare = [await apply_all(server.kubeconfig, folder, owners[:half])]
    say(f"bare loop: {bare[0].objects_per_s:.0f} objects/s")
    operator = Operator(
        folder / "operator", server.kubeconfig, f"--namespace={BUSY}", f"--resync-seconds={RESYNC_SECONDS}"
    )
    player = Player(api, BUSY)
    operator.start()
    try:
        await asyncio.sleep(4)
        created = await phases.create(api, BUSY, options.count, operator, limit)
        say(f"created: {created.deployments_per_s:.2f} deployments/s; {created.requests_per_deployment}")
        result = {"created": asdict(created)}
        bare.append(await apply_all(server.kubeconfig, folder, owners[half:]))
        say(f"bare loop again: {bare[1].objects_per_s:.0f} objects/s")
        result["played"] = await phases.play(api, BUSY, options.count, player, limit)
        say(f"played: {result['played']}")
        result["rest"] = await phases.rest(operator, options.rest_seconds)
        say(f"at rest: {result['rest']}")
        took = await phases.change(api, BUSY, options.count, options.changes, options.pause)
        result["deleted_s"] = await phases.delete(api, BUSY, limit)
        assert "Traceback" not in operator.log, operator.log[-3000:]
    except BaseException:
        sys.stderr.write(operator.log[-3000:])
        raise
    finally:
        await player.stop()
        await operator.end()
        keep_profile(folder)
    return summary(options, result, bare, took)


def summary(options: Options, result: dict[str, Any], bare: list[Bare], took: list[float]) -> dict[str, Any]:
    """The numbers of the report first, then what they come from."""
    rate = result["created"]["deployments_per_s"]
    return {
        "deployments": options.count,
        "deployments_per_s": rate,
        "bare_client_ratio": rate / max(each.deployments_per_s for each in bare),
        "bare_mean_ratio": rate * len(bare) / sum(each.deployments_per_s for each in bare),
        "cpu_ratio": min(each.cpu_ms_per_object for each in bare)
        * result["created"]["children_per_deployment"]
        / result["created"]["cpu_ms_per_deployment"],
        "rss_mb": result["rest"]["rss_mb"],
        "quiet_writes": result["rest"]["quiet_writes"],
        "change_p50_s": quantile(took, 50),
        "change_p99_s": quantile(took, 99),
        "changes": len(took),
        "bare": [asdict(each) for each in bare],
        **result,
    }


def quantile(values: list[float], percent: int) -> float:
    """The value below which `percent` of them are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


async def prepare(api: Api) -> None:
    """Bring the kind and the namespaces."""
    crd = custom_resource_definition()
    await api.apply(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}", crd)
    for name in (BUSY, BARE):
        await add_namespace(api, name)
    await add_node(api)
    for _ in range(100):
        try:
            await api.call("GET", phases.deployments_path(BUSY))
        except Refused:  # 404, then 429 while the storage is made
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("the API server does not serve LLMDeployments")


async def clean(api: Api) -> None:
    """Leave nothing behind where the server goes on living."""
    for name in (BUSY, BARE):
        for body in await api.items(phases.deployments_path(name)):
            path = phases.deployments_path(name, body["metadata"]["name"])
            await api.merge(path, {"metadata": {"finalizers": None}})
            try:
                await api.call("DELETE", path)
            except Refused as refused:
                if refused.code != 404:
                    raise
        await api.call("DELETE", f"/api/v1/namespaces/{name}")


def keep_profile(folder: Path) -> None:
    """Keep the operator's log beside the numbers."""
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    (OUTPUT.parent / "operator.log").write_text((folder / "operator" / "log").read_text())
    (OUTPUT.parent / "operator.requests").write_text((folder / "operator" / "requests").read_text())


def say(sentence: str) -> None:
    """Tell how far it is."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {sentence}\n")
    sys.stdout.flush()


GOALS = (
    Goal("deployments_per_s", "LLMDeployments a second, create to all children written", "≥ 4", lambda v: v >= 4),
    Goal("bare_client_ratio", "of the rate of a bare loop of the same applies", "≥ 0.8", lambda v: v >= 0.8),
    Goal("rss_mb", "MB resident at rest", "≤ 150", lambda v: v <= 150),
    Goal("quiet_writes", "API writes at rest, two resyncs of every object included", "0", lambda v: v == 0),
    Goal("change_p99_s", "s from a changed spec to changed children, 99th percentile", "≤ 1", lambda v: v <= 1),
)


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--rest-seconds", type=float, default=REST_SECONDS)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two changes")
    arguments = parser.parse_args()
    options = Options(arguments.count, arguments.changes, arguments.rest_seconds, arguments.pause)
    began, load = time.time(), os.getloadavg()[0]
    try:
        found = uvloop.run(run(options))  # as the operator runs: the bare loop is no slower for its event loop
    except SkipTest as reason:
        sys.exit(f"bench-operator: {reason}")
    found |= {"load_before": load, "load_after": os.getloadavg()[0]}
    found["seconds"] = time.time() - began
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(table(f"{options.count} LLMDeployments on {found['server']}", GOALS, found))
    sys.stdout.write(f"written to {OUTPUT}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
