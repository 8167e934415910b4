"""Finds the checkpoint of a model URI from where this process runs, through the folders of nodes it can see."""

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from manta_operator.facts.models import ModelFacts, read


def locate(uri: str, host_paths: Mapping[str, Path]) -> Path | None:
    """Return the local folder of a `file://` URI by the longest matching prefix; None if it cannot be seen from here.

    Args:
        uri: `spec.model.uri`.
        host_paths: Folders of the nodes and where they are here: {"/var/lib/manta/models": Path(".models")}. With
            {"/": Path("/")} this machine is the node; without, its own files are not mistaken for a node's.
    """
    if not uri.startswith("file://"):
        return None
    path = PurePosixPath(uri.removeprefix("file://"))
    for prefix in sorted(host_paths, key=len, reverse=True):
        if path.is_relative_to(prefix):
            return host_paths[prefix] / path.relative_to(prefix)
    return None


def locator(host_paths: Mapping[str, Path]) -> Callable[[str], ModelFacts | None]:
    """Return the function from a model URI to its facts, None where they cannot be seen from here."""

    def facts(uri: str) -> ModelFacts | None:
        folder = locate(uri, host_paths)
        return read(folder) if folder else None

    return facts
