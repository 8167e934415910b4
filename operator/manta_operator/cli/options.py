"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from manta_operator.cli.failures import Refused

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
PLUGIN = "kubectl manta"
"""How the command is called as a plugin of kubectl."""

files: Decorator = click.option(
    "-f",
    "--file",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Manifest with LLMDeployments; may be repeated, - is standard input.",
)
host_paths: Decorator = click.option(
    "--map",
    "maps",
    metavar="NODE_PATH=FOLDER",
    multiple=True,
    help="Where a folder of the nodes is on this machine, for file:// models; may be repeated.",
)
THIS_MACHINE = {"/": Path("/")}
"""Host paths of a command that takes this machine for the node: what is not mapped is where it says."""

state: Decorator = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".manta/box"),
    show_default=True,
    envvar="MANTA_STATE",
    help="Folder of the box: kubeconfig, logs, volumes.",
)


def parse_maps(maps: tuple[str, ...]) -> dict[str, Path]:
    """Read NODE_PATH=FOLDER pairs; both absolute in the end.

    Raises:
        Refused: a pair has no "=", its node path is not absolute or its folder does not exist.
    """
    result = {}
    for pair in maps:
        node_path, separator, folder = pair.partition("=")
        if not separator or not node_path.startswith("/"):
            raise Refused([f"--map {pair}: write it as /path/on/the/node=folder/here"])
        if not Path(folder).is_dir():
            raise Refused([f"--map {pair}: there is no folder {folder}"])
        result[node_path.rstrip("/") or "/"] = Path(folder).resolve()
    return result
