"""The faults, in the order in which they are made, and the deployments they befall. Pure, but for reading examples/."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
REPLICAS = 2
HANG_SECONDS = 60

Shape = Literal["sharded", "plain"]
Where = Literal["head", "worker", "outside"]
What = Literal["launcher", "raylet", "gcs", "core", "api", "rank", "pod", "apiserver", "operator"]

_WORDS: dict[What, str] = {
    "raylet": r"\braylet\b",
    "gcs": r"\bgcs_server\b|\bGCS\b|Ray ended",
    "core": r"EngineCore",
    "api": r"\bvLLM\b.* (?:ended|killed)",
    "rank": r"RayWorkerProc",
    "pod": r"rank 1 .*has been silent",
}
_STOPPED = r".* ha(?:s|ve) been stopped"
_LAUNCHER: dict[Where, str] = {
    "worker": r"rank 1 .*(?:restarted after it had joined|has been silent)|killed \(SIGKILL\)",
    "head": r"the head \S+ is gone|the head started again|killed \(SIGKILL\)",
}
"""Who is killed says nothing: the other pod of its group tells, and the operator by the exit code."""


@dataclass(frozen=True)
class Fault:
    """One fault: which process of which pod is killed or frozen (SIGSTOP). `harmless`: no request may be lost."""

    name: str
    shape: Shape
    where: Where
    what: What
    freeze: bool = False
    harmless: bool = False

    @property
    def told(self) -> re.Pattern[str] | None:
        """What a sentence says that tells of it: what died, was stopped or is silent. None: of what is no engine."""
        if self.where == "outside":
            return None
        words = _LAUNCHER[self.where] if self.what == "launcher" else _WORDS[self.what]
        return re.compile(f"(?:{words}){_STOPPED if self.freeze and self.what != 'pod' else ''}")

    @property
    def told_by_a_pod(self) -> bool:
        """Whether a pod can tell of it: not that of a launcher that is killed and alone."""
        return self.where != "outside" and (self.shape, self.what) != ("plain", "launcher")


FAULTS = (
    Fault("worker's launcher", "sharded", "worker", "launcher"),
    Fault("head's launcher", "sharded", "head", "launcher"),
    Fault("worker's raylet", "sharded", "worker", "raylet"),
    Fault("head's raylet", "sharded", "head", "raylet"),
    Fault("GCS", "sharded", "head", "gcs"),
    Fault("engine core", "sharded", "head", "core"),
    Fault("vLLM's API server", "sharded", "head", "api"),
    Fault("worker's rank", "sharded", "worker", "rank"),
    Fault("worker's rank frozen", "sharded", "worker", "rank", freeze=True),
    Fault("worker pod frozen", "sharded", "worker", "pod", freeze=True),
    Fault("Kubernetes API frozen 20 s", "sharded", "outside", "apiserver", freeze=True, harmless=True),
    Fault("operator", "sharded", "outside", "operator", harmless=True),
    Fault("plain: launcher", "plain", "head", "launcher"),
    Fault("plain: API server", "plain", "head", "api"),
    Fault("plain: engine core", "plain", "head", "core"),
)


def manifest(shape: Shape, *, simulated: bool = False) -> dict[str, Any]:
    """Return the LLMDeployment of a shape: two replicas of examples/tiny-sharded.yaml, or of examples/tiny.yaml.

    A plain replica has `executor: mp`, so that its engine core is a process of its own. What hangs ends as soon as the
    spec allows, so that a run takes minutes. `simulated`: the simulator stands in for vLLM and Ray, which leaves
    launchers, pods and what is outside to break.
    """
    example = EXAMPLES / ("tiny-sharded.yaml" if shape == "sharded" else "tiny.yaml")
    body: dict[str, Any] = yaml.safe_load(example.read_text())
    body["metadata"]["name"] = shape
    body["spec"] |= {"replicas": REPLICAS, "router": {"replicas": 1}, "rollout": {"drainSeconds": 60}}
    body["spec"]["engine"] |= {"executor": "ray" if shape == "sharded" else "mp", "hangSeconds": HANG_SECONDS}
    if simulated:
        body["spec"]["engine"] |= {"env": [{"name": "MANTA_ENGINE", "value": "simulate"}], "enforceEager": False}
        body["spec"]["engine"]["args"] = ["--simulate-startup-seconds=1"]
    return body
