"""Builds the container images of `images/`: `make images` (IMAGE_PREFIX=…, TAG=…, ONLY='router operator', PUSH=1).

Each `images/NAME.Dockerfile` becomes `PREFIX/NAME:TAG`. It takes the first builder that is found and works: docker
buildx, podman, buildah. Deciding (which commands) is pure; `main` runs them. Standard library only.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "manta"
IMAGES = ("operator", "router", "runtime", "runtime-cpu")
"""In the order in which they are built: the small ones first."""
_PROBES = {
    "docker": (["docker", "buildx", "version"], ["docker", "info"]),
    "podman": (["podman", "info"],),
    "buildah": (["buildah", "info"],),
}
"""What must succeed before a builder is used: docker is often a client whose daemon or whose buildx is missing."""
_EXIT_USAGE = 2


class Unavailable(Exception):
    """The images cannot be built as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Wanted:
    """What to build: names of `images/`, how they are called, and which commit of the repository they are made of."""

    names: tuple[str, ...]
    prefix: str
    tag: str
    revision: str = "unknown"
    push: bool = False
    extra: tuple[str, ...] = ()

    def reference(self, name: str) -> str:
        """The full name of an image."""
        return f"{self.prefix}/{name}:{self.tag}"


def find_builder(works: Callable[[Sequence[str]], str]) -> str:
    """The first builder whose probes all succeed.

    `works` runs a command and returns why it does not work, or "".

    Raises:
        Unavailable: there is none; with what is wrong with each.
    """
    reasons = []
    for builder, probes in _PROBES.items():
        reason = next((why for probe in probes if (why := works(probe))), "")
        if not reason:
            return builder
        reasons.append(f"  {builder}: {reason}")
    listed = "\n".join(reasons)
    raise Unavailable(f"no builder of images works here:\n{listed}\ninstall one of them (Debian: apt install buildah)")


def commands(builder: str, wanted: Wanted) -> list[list[str]]:
    """The commands, in order, that build (and push) what is wanted; run in the root of the repository.

    `--layers`: without it buildah makes one layer of all steps, and each push is a push of everything.
    """
    found: list[list[str]] = []
    for name in wanted.names:
        reference = wanted.reference(name)
        arguments = [
            f"--file=images/{name}.Dockerfile",
            f"--tag={reference}",
            f"--build-arg=VERSION={wanted.tag}",
            f"--build-arg=REVISION={wanted.revision}",
            *wanted.extra,
            ".",
        ]
        if builder == "docker":
            found.append(["docker", "buildx", "build", "--push" if wanted.push else "--load", *arguments])
            continue
        found.append([builder, "build", "--layers", *arguments])
        if wanted.push:
            found.append([builder, "push", reference])
    return found


def version() -> str:
    """Manta's version, which is the tag unless another is given: that of the chart and of the API's defaults."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.+)"$', text, re.MULTILINE)  # tomllib is not in every Python that may run this
    return found[1] if found else "unknown"


def revision() -> str:
    """The commit that is checked out, with `-dirty` if files differ from it; `unknown` outside of git."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip() or "unknown"


def _works(command: Sequence[str]) -> str:
    if shutil.which(command[0]) is None:
        return "not installed"
    try:
        probed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return f"`{' '.join(command)}` gave no answer in 60 s"
    if probed.returncode == 0:
        return ""
    said = [line.strip() for line in probed.stderr.splitlines() if line.strip()]
    return f"`{' '.join(command)}` failed" + (f": {said[0]}" if said else "")


def wanted_of(arguments: Sequence[str]) -> Wanted:
    """Reads the command line; ends the process with exit code 2 where it makes no sense."""
    parser = argparse.ArgumentParser(description="Build the container images of images/.")
    parser.add_argument("--prefix", default=PREFIX, help="registry and folder, for example registry.example/manta")
    parser.add_argument("--tag", default="", help="default: the version in pyproject.toml")
    parser.add_argument("--only", default="", help=f"names, of {' '.join(IMAGES)}; default: all")
    parser.add_argument("--push", action="store_true", help="push them too; needs a registry in --prefix")
    parser.add_argument("extra", nargs="*", help="after --: more arguments for the builder")
    options = parser.parse_args(arguments)
    names = tuple(options.only.split()) or IMAGES
    if unknown := [name for name in names if name not in IMAGES]:
        parser.error(f"there is no image {' '.join(unknown)}: ONLY takes names of {' '.join(IMAGES)}")
    prefix = options.prefix.rstrip("/")
    if options.push and prefix == PREFIX:
        parser.error("PUSH=1 needs a registry of yours: IMAGE_PREFIX=registry.example/manta")
    return Wanted(names, prefix, options.tag or version(), revision(), options.push, tuple(options.extra))


def main() -> int:
    """Builds; returns the exit code: 0, 1 a build failed, 2 there is nothing to build with."""
    wanted = wanted_of(sys.argv[1:])
    try:
        builder = find_builder(_works)
    except Unavailable as error:
        print(f"images: {error}", file=sys.stderr)
        return _EXIT_USAGE
    for command in commands(builder, wanted):
        print(f"images: {' '.join(command)}", flush=True)
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            print("images: that failed; what the builder says is above", file=sys.stderr)
            return 1
    print("images: " + " ".join(wanted.reference(name) for name in wanted.names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
