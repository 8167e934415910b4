"""Where commands look for the facts of a model: the sources and the order of the operator (`planning/known.py`).

A command sees other disks than the operator, a file instead of its ConfigMap, and asks a hub only with --online.
"""

import asyncio
import functools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import yaml

from manta_operator.api.strict_yaml import parse_documents
from manta_operator.cli import options
from manta_operator.cli.failures import Refused
from manta_operator.controller import facts_http, facts_hub
from manta_operator.controller.facts_hubs import refused
from manta_operator.facts.extension import Extension, extend
from manta_operator.facts.locate import locate, locator
from manta_operator.facts.models import FactsError
from manta_operator.planning.known import Asked, Known, of_catalogs


@dataclass(frozen=True)
class Lookup:
    """What a command looks at: folders of nodes by where they are here, a user's catalog, and hubs if `online`."""

    host_paths: Mapping[str, Path] = field(default_factory=dict)
    own: Extension = field(default_factory=Extension)
    where: str = ""
    """What the user's catalog is called."""
    online: bool = False

    def on_this_machine(self) -> "Lookup":
        """Return the same, with this machine for a node: what is not mapped is where it says."""
        return replace(self, host_paths=options.THIS_MACHINE | dict(self.host_paths))

    def catalog(self, data: Mapping[str, str], where: str) -> "Lookup":
        """Return the same with the data of a ConfigMap for a catalog, unless the user named one."""
        return self if self.where else replace(self, own=extend(data), where=where)


_catalog: options.Decorator = click.option(
    "--catalog",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Manifest of a ConfigMap with models and accelerators of your own (docs/catalog.md).",
)
_online: options.Decorator = click.option(
    "--online", is_flag=True, help="Ask the hub about hf:// models that no catalog has; HF_ENDPOINT and HF_TOKEN count."
)


def options_of_facts(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --map, --catalog and --online and, in their stead, the argument `sources`: a Lookup."""

    @functools.wraps(command)
    def wrapped(*args: Any, maps: tuple[str, ...], catalog: Path | None, online: bool, **kwargs: Any) -> Any:
        sources = Lookup(options.parse_maps(maps), online=online)
        if catalog is not None:
            sources = replace(sources, own=read_catalog(catalog), where=str(catalog))
        return command(*args, sources=sources, **kwargs)

    return options.host_paths(_catalog(_online(wrapped)))


def read_catalog(path: Path) -> Extension:
    """Read a user's catalog: the manifest of the ConfigMap. Raises Refused with everything that is wrong in it."""
    try:
        documents = [body for body in parse_documents(path.read_text("utf-8")) if body is not None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise Refused([f"--catalog {path}: cannot be read: {error}"]) from error
    maps = [body for body in documents if isinstance(body, dict) and body.get("kind") == "ConfigMap"]
    if len(maps) != 1 or len(documents) != 1:
        raise Refused([f"--catalog {path}: should be the manifest of one ConfigMap; docs/catalog.md shows one"])
    found = extend(_data(path, maps[0]))
    if found.problems:
        raise Refused([f"--catalog {path}: {problem}" for problem in found.problems])
    return found


def _data(path: Path, body: Mapping[str, Any]) -> Mapping[str, str]:
    data = body.get("data") or {}
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        raise Refused([f"--catalog {path}: data should map names to text: write `models.yaml: |`"])
    return data


def find_all(asked: Iterable[Asked], sources: Lookup) -> dict[Asked, Known]:
    """Return what is known of each; it may take seconds, online."""
    every = list(dict.fromkeys(asked))
    if not sources.online:
        return {each: here(each, sources) for each in every}
    return asyncio.run(_all(every, sources))


async def _all(asked: Iterable[Asked], sources: Lookup) -> dict[Asked, Known]:
    return {each: await find(each, sources) for each in asked}


async def find(asked: Asked, sources: Lookup) -> Known:
    """Return what is known of one, asked of a hub if need be."""
    known = here(asked, sources)
    if not sources.online or known.facts or known.trouble:
        return known
    public = (os.environ.get("HF_ENDPOINT") or facts_hub.PUBLIC).rstrip("/")
    about = facts_hub.question(asked.uri, asked.revision, asked.endpoint or public)
    if about is None:
        return known
    # The endpoint may come from a file of somebody else's: the token is for one's own hub.
    token = os.environ.get("HF_TOKEN", "").strip() if about.endpoint == public else ""
    async with facts_http.session() as client:
        try:
            found = await facts_hub.ask(client, about, token)
        except facts_http.Refused as error:
            said = refused(about, error).why
            return replace(known, why="; ".join(part for part in (known.why, said) if part))
    at = f" at {found.commit[:12]}" if found.commit else ""
    return replace(known, facts=found.facts, source=f"{about.endpoint}, {about.repository}{at}", why=found.note)


def here(asked: Asked, sources: Lookup) -> Known:
    """Return what this machine and the catalogs know of it."""
    known: Known
    try:
        facts = locator(sources.host_paths)(asked.uri)
    except FactsError as error:
        known = Known(trouble=str(error))
    else:
        folder = locate(asked.uri, sources.host_paths)
        known = Known(facts, str(folder)) if facts else of_catalogs(asked, sources.own, sources.where)
    if known.why and not sources.online:
        known = replace(known, why=f"{known.why}; --online asks the hub")
    return replace(known, accelerators=sources.own.accelerators)
