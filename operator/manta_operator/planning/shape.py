"""How one replica is cut: ranks, pods and executor. Pure; the first decision of the planner.

width     = tensor x pipeline                 ranks of one engine
ranks     = data x width                      one rank per accelerator
pods      = ranks / perPod                    the group; pod 0 is the head
executor  = uni (1 rank) | mp (1 pod) | ray   unless the spec says otherwise

What makes a shape impossible is told by shape_problems.py.
"""

from dataclasses import dataclass
from typing import Literal

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.memory.shape_weights import splits_evenly, uncut

Executor = Literal["uni", "mp", "ray"]

DEVICES_PER_NODE = 8
"""Accelerators of one node, when the spec does not say: what every HGX and OAM board carries."""
MOST_STAGES = 16
"""Stages that are tried. A replica of more nodes is not chosen for anybody, who may ask for it."""


@dataclass(frozen=True)
class Shape:
    """The cut of one replica: `data` engines of `tensor` x `pipeline` ranks, in pods of `per_pod` accelerators.

    `expert`: ranks hold whole experts, not a slice of each.
    """

    tensor: int
    pipeline: int
    per_pod: int
    executor: Executor
    data: int = 1
    expert: bool = False

    @property
    def width(self) -> int:
        """Ranks of one engine, which holds all layers."""
        return self.tensor * self.pipeline

    @property
    def ranks(self) -> int:
        """Ranks of one replica."""
        return self.data * self.width

    @property
    def expert_ranks(self) -> int:
        """Over how many ranks the experts of one layer are split, whole or in slices."""
        return self.data * self.tensor

    @property
    def pods(self) -> int:
        """Pods of one replica."""
        return self.ranks // self.per_pod

    @property
    def cut(self) -> str:
        """The factors, for people."""
        data = f"data {self.data} x " if self.data > 1 else ""
        return f"{data}tensor {self.tensor} x pipeline {self.pipeline}"

    def __str__(self) -> str:
        ranks = f"{self.ranks} rank" + ("s" if self.ranks > 1 else "")
        pods = f"{self.pods} pod" + ("s" if self.pods > 1 else "")
        experts = f", experts over {self.expert_ranks} ranks" if self.expert and self.expert_ranks > 1 else ""
        return f"{self.cut} = {ranks} in {pods}, executor {self.executor}{experts}"


def cut(spec: LLMDeploymentSpec, tensor: int, pipeline: int = 1, node: int = DEVICES_PER_NODE) -> Shape:
    """Cut a replica with stages `tensor` ranks wide; the spec's own values win over `pipeline`, and over the `node`."""
    pipeline, data = spec.parallelism.pipeline or pipeline, spec.parallelism.data or 1
    ranks = data * tensor * pipeline
    per_pod = spec.accelerator.per_pod or _per_pod(tensor, tensor * pipeline, ranks, node)
    executor: Executor = "uni" if ranks == 1 else "mp" if ranks == per_pod else "ray"
    if spec.engine.executor != "auto" and ranks > 1:
        executor = spec.engine.executor
    return Shape(tensor, pipeline, per_pod, executor, data, spec.parallelism.expert)


def _per_pod(tensor: int, width: int, ranks: int, node: int) -> int:
    """Return all ranks if a node holds them, else the most whole engines that fill pods evenly, else a stage."""
    if ranks <= node:
        return ranks
    if width <= node and width < ranks:
        return max(size for size in range(width, node + 1, width) if ranks % size == 0)
    return min(tensor, node)


def candidates(spec: LLMDeploymentSpec, facts: ModelFacts | None, node: int = DEVICES_PER_NODE) -> tuple[Shape, ...]:
    """Return the shapes to try, those of the fewest accelerators first.

    Tensor parallelism within a node first: it answers sooner, and its ranks talk after every layer, for which a network
    is too slow. What one node does not hold is cut into stages over several, each as wide as a node allows. What the
    spec says stands; where it names `tensor` alone, there is one stage. Widths that the heads forbid are among them
    where they are powers of two, so that it can be told; others only where all weights can be cut so.

    Args:
        spec: What is asked for.
        facts: What the checkpoint says; None if it cannot be seen: then there is one shape.
        node: Accelerators of one node.
    """
    said = spec.parallelism
    if spec.accelerator.type == "cpu" or facts is None:
        return (cut(spec, said.tensor or _fills_a_pod(spec), node=node),)
    if said.tensor:
        return (cut(spec, said.tensor, node=node),)
    node = spec.accelerator.per_pod or node
    widths = _widths(node, facts)
    within = [cut(spec, width, node=node) for width in widths]
    if said.pipeline:
        return tuple(within)
    widest = max((width for width in widths if _is_possible(spec, width, facts)), default=1)
    stages = range(2, min(MOST_STAGES, facts.layers) + 1)
    over = [cut(spec, widest, stage, node) for stage in stages]
    return (*within, *(shape for shape in over if shape.ranks > within[-1].ranks or shape.pods == 1))


def _widths(node: int, facts: ModelFacts) -> list[int]:
    """Return the widths to try within a node of so many accelerators."""
    odd = (width for width in range(1, node + 1) if width & (width - 1))
    even = [width for width in (1, 2, 4, 8, 16, 32, 64) if width <= node]
    return sorted([*even, *(width for width in odd if splits_heads(width, facts) and splits_evenly(facts, width))])


def _is_possible(spec: LLMDeploymentSpec, width: int, facts: ModelFacts) -> bool:
    """Whether nothing speaks against stages of this width, as far as is known."""
    experts = 1 if spec.parallelism.expert else width * (spec.parallelism.data or 1)
    return splits_heads(width, facts) and uncut(facts, width, experts) is None


def _fills_a_pod(spec: LLMDeploymentSpec) -> int:
    """Return the width at which the data ranks that a pod holds fill it; 1 where nothing is said."""
    return max(1, (spec.accelerator.per_pod or 1) // (spec.parallelism.data or 1))


def splits_heads(tensor: int, facts: ModelFacts) -> bool:
    """Whether every rank gets the same number of heads; vLLM replicates KV heads that are fewer than the ranks."""
    if facts.attention_heads % tensor:
        return False
    shared = facts.latent_dim is not None
    return shared or not facts.kv_heads or facts.kv_heads % tensor == 0 or tensor % facts.kv_heads == 0
