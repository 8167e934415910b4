"""The options that say which cluster is meant, and the frame every command runs in that asks one.

    --state                                  the box of that folder
    --kubeconfig, --context, $KUBECONFIG     a cluster, as with kubectl
    a box runs in the default state folder   that box (but not for `kubectl manta`, which means kubectl's cluster)
    ~/.kube/config, or the pod's own         a cluster, as with kubectl

The first that applies is used, and named on standard error, so that nobody mistakes one cluster for another.
"""

import asyncio
import functools
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from manta_operator.api import names
from manta_operator.box.state import read_state
from manta_operator.cli import options
from manta_operator.cli.explain import explain
from manta_operator.cli.failures import Refused
from manta_operator.cli.kubeconfig import NoCluster, Object, Target, from_files, inside, search_path
from manta_operator.cli.rest import Api, CallFailed, connect


@dataclass(frozen=True)
class Where:
    """The cluster and the namespace a command works in.

    `namespace` None means all of them; `named` tells that it was given on the command line.
    """

    target: Target
    namespace: str | None
    named: bool = False

    def __str__(self) -> str:
        return f"{self.target.title} ({self.target.server}), {in_namespace(self.namespace)}"


def in_namespace(namespace: str | None) -> str:
    """Return the scope in words."""
    return f"namespace {namespace}" if namespace else "all namespaces"


_kubeconfig = click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    help="Kubeconfig file. Default: $KUBECONFIG, else the box that runs in --state, else as kubectl.",
)
_context = click.option("--context", help="Context of the kubeconfig. Default: its current-context.")
_namespace = click.option("-n", "--namespace", help="Namespace. Default: the context's; on a box, all.")
_all_namespaces = click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces.")


def options_of_cluster(*, everywhere: bool = False) -> options.Decorator:
    """Give a command the options and, in their stead, the argument `choose`: call it to get Where, or Refused.

    Args:
        everywhere: Offer --all-namespaces too.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(
            *args: Any,
            kubeconfig: Path | None,
            context: str | None,
            namespace: str | None,
            state: Path,
            all_namespaces: bool = False,
            **kwargs: Any,
        ) -> Any:
            if all_namespaces and namespace:
                raise Refused([f"--namespace {namespace} and --all-namespaces exclude each other: leave one out"])
            named = click.get_current_context().get_parameter_source("state") is ParameterSource.COMMANDLINE
            asked = Asked(kubeconfig, context, state, named)
            return command(*args, choose=lambda: _where(asked, namespace, all_namespaces), **kwargs)

        result: Callable[..., Any] = wrapped
        for option in (options.state, _all_namespaces if everywhere else None, _namespace, _context, _kubeconfig):
            result = option(result) if option else result
        return result

    return decorate


@dataclass(frozen=True)
class Asked:
    """What the command line says about the cluster; `state_named` tells --state from its default."""

    kubeconfig: Path | None = None
    context: str | None = None
    state: Path = Path()
    state_named: bool = False
    plugin: bool = False


def target_of(asked: Asked, env: dict[str, str], home: Path) -> Target:
    """Choose the cluster. Raises Refused where nothing is named, or what is named is not there."""
    if asked.state_named:
        if asked.kubeconfig or asked.context:
            raise Refused(["--state names a box, --kubeconfig and --context a cluster: give one of them"])
        return _box(asked.state) or _no_box(asked.state)
    named = asked.kubeconfig or asked.context or env.get("KUBECONFIG")
    if not named and not asked.plugin and (box := _box(asked.state)):
        return box
    if asked.kubeconfig and not asked.kubeconfig.is_file():
        raise Refused([f"--kubeconfig {asked.kubeconfig}: there is no such file"])
    paths = [asked.kubeconfig] if asked.kubeconfig else search_path(env, home)
    try:
        found = from_files(paths, asked.context) or inside(env)
    except NoCluster as error:
        raise Refused([str(error)]) from error
    if found is None:
        looked = ", ".join(map(str, paths))
        raise Refused(
            [
                f"no cluster is configured: {looked} names none, and no box runs in {asked.state}; "
                "name a kubeconfig with --kubeconfig, or start a box with `manta up`"
            ]
        )
    return found


def run(where: Where, work: Callable[[Api], Awaitable[int | None]], *, quiet: bool = False) -> None:
    """Run a command's work against the cluster and exit with what it returns; every failure is one sentence.

    Args:
        where: Named on standard error first.
        work: Called with the connection.
        quiet: Do not name it: the output does.
    """
    if not quiet:
        click.secho(f"{where}", dim=True, err=True)
    try:
        code = asyncio.run(_work(where.target, work))
    except NoCluster as error:
        raise Refused([str(error)]) from error
    except CallFailed as error:
        raise Refused([explain(error, where.target.title, where.target.server)]) from error
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `| head` has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - what Python flushes at the end goes nowhere
        sys.exit(0)
    if code:
        sys.exit(code)


async def _work(target: Target, work: Callable[[Api], Awaitable[int | None]]) -> int | None:
    async with connect(target) as api:
        return await work(api)


async def the_deployment(api: Api, where: Where, name: str) -> Object:
    """Return the LLMDeployment of that name; on a box without -n it is looked for everywhere. Raises Refused."""
    if where.namespace:
        body = await api.find(names.API_VERSION, names.KIND, where.namespace, name)
        found = [body] if body else []
    else:
        listed = await api.list(names.API_VERSION, names.KIND)
        found = [body for body in listed if body["metadata"]["name"] == name]
    if not found:
        raise Refused([f"there is no LLMDeployment {name} in {where}; `manta status -A` lists all there are"])
    if len(found) > 1:
        places = ", ".join(sorted(body["metadata"]["namespace"] for body in found))
        raise Refused([f"LLMDeployment {name} is in several namespaces ({places}); choose one with --namespace"])
    return found[0]


def _where(asked: Asked, namespace: str | None, everywhere: bool) -> Where:
    plugin = click.get_current_context().find_root().info_name == options.PLUGIN
    target = target_of(replace(asked, plugin=plugin), dict(os.environ), Path.home())
    # A box is small and one's own: without -n all of it is meant.
    everywhere = everywhere or (target.box and not namespace)
    return Where(target, None if everywhere else namespace or target.namespace, named=bool(namespace))


def _box(state: Path) -> Target | None:
    found = read_state(state)
    if found is None:
        return None
    try:
        target = from_files([found.kubeconfig])
    except NoCluster as error:
        raise Refused([f"the box in {state}: {error}"]) from error
    return target and replace(target, title=f"box {found.number} in {state}", box=True)


def _no_box(state: Path) -> Target:
    raise Refused([f"no box runs in {state}; start one with `manta up`, or name its folder with --state"])
