"""Files to plans: reads manifests, admits them as the API server would, finds the facts and asks the pure core.

Used by `plan`, `render` and `up`, so that all three refuse the same input with the same words.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manta_operator.api.load import InvalidManifest, load
from manta_operator.api.models import LLMDeployment, parse
from manta_operator.builders.desired import Desired, desire
from manta_operator.cli.facts import Lookup, find_all
from manta_operator.cli.failures import Refused
from manta_operator.facts.locate import locate
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.autoscale import asking, begin
from manta_operator.planning.known import NOTHING, Known, asked_of
from manta_operator.planning.observe import Observed


@dataclass(frozen=True)
class Planned:
    """One LLMDeployment from a file, its facts and what Manta would make of it on an empty cluster.

    `deployment` asks for as many replicas as an autoscaler would begin with, where there is one.
    """

    source: str
    body: Mapping[str, Any]
    deployment: LLMDeployment
    facts: ModelFacts | None
    desired: Desired
    known: Known = NOTHING
    """The facts, and where they come from."""


def plan_files(paths: Iterable[Path], sources: Lookup, *, local: bool = False) -> list[Planned]:
    """Plan every LLMDeployment in the files.

    Args:
        paths: YAML files; "-" is standard input.
        sources: Where to look for facts; what is not mapped is where it says on this machine.
        local: The pods would run on this machine, so a `file://` checkpoint has to be here.

    Raises:
        Refused: a file, a field, a checkpoint or a plan is wrong; it carries all the problems, not the first alone.
    """
    sources = sources.on_this_machine()
    admitted, lines = _admit(paths)
    lines += _twice(admitted)
    known = find_all((asked_of(body) for _, body in admitted), sources)
    planned: list[Planned] = []
    for source, body in admitted:
        deployment = parse(body)
        lines.extend(_missing_checkpoint(source, deployment, sources.host_paths) if local else ())
        outcome = _plan(source, body, deployment, known[asked_of(body)])
        if isinstance(outcome, Planned):
            planned.append(outcome)
        else:
            lines.extend(outcome)
    if lines:
        raise Refused(dict.fromkeys(lines))
    return planned


def admitted(paths: Iterable[Path]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the LLMDeployments in files, as the API server would admit them, and their files. Raises Refused."""
    found, lines = _admit(paths)
    lines += _twice(found)
    if lines:
        raise Refused(dict.fromkeys(lines))
    return found


def _admit(paths: Iterable[Path]) -> tuple[list[tuple[str, Mapping[str, Any]]], list[str]]:
    admitted: list[tuple[str, Mapping[str, Any]]] = []
    lines: list[str] = []
    for path in paths:
        try:
            admitted.extend((str(path), body) for body in load(read_text(path), str(path)))
        except InvalidManifest as error:
            lines.extend(map(str, error.problems))
    return admitted, lines


def _twice(admitted: list[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return a line for every name that two files use: the second would silently replace the first."""
    first: dict[tuple[str, str], str] = {}
    lines = []
    for source, body in admitted:
        key = (body["metadata"].get("namespace", "default"), body["metadata"]["name"])
        if first.setdefault(key, source) != source:
            lines.append(f"{source}: metadata.name: {'/'.join(key)} is in {first[key]} as well; rename one of them")
    return lines


def read_text(path: Path) -> str:
    """Return a file's text, of - that of standard input. Raises Refused."""
    try:
        return Path("/dev/stdin").read_text("utf-8") if str(path) == "-" else path.read_text("utf-8")
    except FileNotFoundError:
        raise Refused([f"{path}: there is no such file"]) from None
    except IsADirectoryError:
        raise Refused([f"{path}: is a folder; name the files in it"]) from None
    except UnicodeDecodeError as error:
        raise Refused([f"{path}: is not text in UTF-8 ({error.reason} at byte {error.start})"]) from None
    except OSError as error:
        raise Refused([f"{path}: cannot be read: {error.strerror}"]) from None


def _plan(source: str, body: Mapping[str, Any], deployment: LLMDeployment, known: Known) -> Planned | list[str]:
    if known.trouble:
        what = f"{known.trouble}; repair the checkpoint or name another one"
        return [f"{source}: {deployment.name}: spec.model.uri: {what}"]
    deployment = asking(deployment, begin(deployment, {}))
    desired = desire(deployment, known.facts, Observed(), unseen=known.why, extra=known.accelerators)
    if isinstance(desired, Desired):
        return Planned(source, body, deployment, known.facts, desired, known)
    return [f"{source}: {deployment.name}: {problem}" for problem in desired]


def _missing_checkpoint(source: str, deployment: LLMDeployment, host_paths: Mapping[str, Path]) -> list[str]:
    uri = deployment.spec.model.uri
    folder = locate(uri, host_paths)
    if folder is None or (folder / "config.json").is_file():
        return []
    what = "has no config.json" if folder.is_dir() else "does not exist on this machine"
    remedy = "make the tiny model with `make model`, name another folder, or say where it is with --map"
    return [f"{source}: {deployment.name}: spec.model.uri: {uri}: {folder} {what}; {remedy}"]
