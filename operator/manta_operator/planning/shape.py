"""How one replica is cut: ranks, pods and executor. Pure; the first decision of the planner.

ranks     = tensor x pipeline                 one rank per accelerator
pods      = ranks / perPod                    the group; pod 0 is the head
executor  = uni (1 rank) | mp (1 pod) | ray   unless the spec says otherwise
"""

from dataclasses import dataclass
from typing import Literal

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.problems import Problem

Executor = Literal["uni", "mp", "ray"]

DEVICES_PER_NODE = 8
"""Accelerators of one node, when the spec does not say: what every HGX and OAM board carries."""


@dataclass(frozen=True)
class Shape:
    """The cut of one replica: `tensor` x `pipeline` ranks in `pods` pods of `per_pod` accelerators."""

    tensor: int
    pipeline: int
    per_pod: int
    executor: Executor

    @property
    def ranks(self) -> int:
        """Ranks of one replica."""
        return self.tensor * self.pipeline

    @property
    def pods(self) -> int:
        """Pods of one replica."""
        return self.ranks // self.per_pod

    def __str__(self) -> str:
        ranks = f"{self.ranks} rank" + ("s" if self.ranks > 1 else "")
        pods = f"{self.pods} pod" + ("s" if self.pods > 1 else "")
        return f"tensor {self.tensor} x pipeline {self.pipeline} = {ranks} in {pods}, executor {self.executor}"


def cut(spec: LLMDeploymentSpec, tensor: int) -> Shape:
    """Cut a replica with `tensor` ranks wide; the spec's own values win over the planner's."""
    pipeline = spec.parallelism.pipeline or 1
    ranks = tensor * pipeline
    per_pod = spec.accelerator.per_pod or _per_pod(tensor, ranks)
    executor: Executor = "uni" if ranks == 1 else "mp" if ranks == per_pod else "ray"
    if spec.engine.executor != "auto" and ranks > 1:
        executor = spec.engine.executor
    return Shape(tensor, pipeline, per_pod, executor)


def _per_pod(tensor: int, ranks: int) -> int:
    if ranks <= DEVICES_PER_NODE:
        return ranks
    return min(tensor, DEVICES_PER_NODE)


def tensor_candidates(spec: LLMDeploymentSpec, facts: ModelFacts | None) -> tuple[int, ...]:
    """Return the tensor widths to try, smallest first: the spec's own, or the powers of two the heads allow."""
    if spec.parallelism.tensor:
        return (spec.parallelism.tensor,)
    if spec.accelerator.type == "cpu" or facts is None:
        return (spec.accelerator.per_pod or 1,)
    widths = (1, 2, 4, 8)
    return tuple(width for width in widths if _splits_heads(width, facts))


def _splits_heads(tensor: int, facts: ModelFacts) -> bool:
    """Whether every rank gets the same number of heads; vLLM replicates KV heads that are fewer than the ranks."""
    if facts.attention_heads % tensor:
        return False
    shared = facts.latent_dim is not None
    return shared or not facts.kv_heads or facts.kv_heads % tensor == 0 or tensor % facts.kv_heads == 0


def problems(shape: Shape, facts: ModelFacts | None) -> tuple[Problem, ...]:
    """Return what makes this shape impossible for any engine, whatever its memory."""
    found: list[Problem] = []
    if shape.ranks % shape.per_pod:
        found.append(_uneven(shape))
    elif shape.executor == "mp" and shape.pods > 1:
        found.append(
            Problem(
                "spec.engine.executor",
                f"mp keeps a replica in one pod, but {shape.ranks} ranks at {shape.per_pod} per pod need {shape.pods}",
                f"set spec.accelerator.perPod: {shape.ranks}, or leave spec.engine.executor at auto",
            )
        )
    if facts:
        found.extend(_against_model(shape, facts))
    return tuple(found)


def _uneven(shape: Shape) -> Problem:
    return Problem(
        "spec.accelerator.perPod",
        f"{shape.per_pod} does not divide the {shape.ranks} ranks of a replica "
        f"(tensor {shape.tensor} x pipeline {shape.pipeline})",
        f"use one of {_divisors(shape.ranks)}",
    )


def _against_model(shape: Shape, facts: ModelFacts) -> list[Problem]:
    found = []
    if not _splits_heads(shape.tensor, facts):
        divides = f"does not divide the {facts.attention_heads} attention heads"
        if facts.attention_heads % shape.tensor == 0:
            divides = f"neither divides nor is a multiple of the {facts.kv_heads} KV heads"
        found.append(
            Problem(
                "spec.parallelism.tensor",
                f"{shape.tensor} {divides} of {facts.architecture}",
                f"use one of {_widths(facts)}",
            )
        )
    if shape.pipeline > facts.layers:
        found.append(
            Problem(
                "spec.parallelism.pipeline",
                f"{shape.pipeline} stages are more than the {facts.layers} layers of {facts.architecture}",
                f"use {facts.layers} or fewer",
            )
        )
    return found


def _widths(facts: ModelFacts) -> str:
    return ", ".join(str(width) for width in range(1, facts.attention_heads + 1) if _splits_heads(width, facts))


def _divisors(number: int) -> str:
    return ", ".join(str(candidate) for candidate in range(1, number + 1) if number % candidate == 0)
