"""What makes a shape impossible for any engine, whatever its memory, and what is possible but unwise. Pure.

fit.py asks for the problems of every shape it tries. What is refused here is known to end in a crash of the engine;
where vLLM takes it, or the checkpoint cannot be seen, the shape stands.
"""

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.memory.shape_weights import uncut
from manta_operator.planning.problems import Problem
from manta_operator.planning.shape import Shape, splits_heads


def problems(spec: LLMDeploymentSpec, shape: Shape, facts: ModelFacts | None) -> tuple[Problem, ...]:
    """Return what makes this shape impossible."""
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
    elif shape.data > 1 and shape.per_pod % shape.width and shape.width % shape.per_pod:
        found.append(_broken_engines(shape))
    if spec.accelerator.type == "cpu":
        found.extend(_on_cpu(spec, shape))
    if facts:
        found.extend(_against_model(shape, facts))
    return tuple(found)


def advice(shape: Shape, facts: ModelFacts | None) -> str:
    """Return what is possible but better done otherwise, in a sentence; "" where there is nothing to say."""
    if facts is None or facts.experts or shape.data == 1:
        return ""
    return (
        f"{facts.architecture} has no experts: its {shape.data} data ranks share nothing, so that the loss of one ends "
        f"all; {shape.data} times spec.replicas, without spec.parallelism.data, take the same accelerators"
    )


def _uneven(shape: Shape) -> Problem:
    return Problem(
        "spec.accelerator.perPod",
        f"{shape.per_pod} does not divide the {shape.ranks} ranks of a replica ({shape.cut})",
        f"use one of {_divisors(shape.ranks)}",
    )


def _broken_engines(shape: Shape) -> Problem:
    fitting = [
        size
        for size in range(1, shape.ranks + 1)
        if shape.ranks % size == 0 and (size % shape.width == 0 or shape.width % size == 0)
    ]
    return Problem(
        "spec.accelerator.perPod",
        f"{shape.per_pod} neither holds whole data ranks of {shape.width} (tensor {shape.tensor} x pipeline "
        f"{shape.pipeline}) nor divides one",
        f"use one of {', '.join(map(str, fitting))}",
    )


def _on_cpu(spec: LLMDeploymentSpec, shape: Shape) -> list[Problem]:
    """What vLLM 0.32 dies of on CPU, at the first request: found by trying (docs/sharding.md)."""
    found = []
    if shape.pipeline > 1 and spec.engine.enforce_eager:
        found.append(
            Problem(
                "spec.engine.enforceEager",
                "on cpu, vLLM dies of the first request when it computes eagerly in several pipeline stages",
                "set enforceEager: false (the compiler it then runs at every start needs g++), or use tensor alone",
            )
        )
    if shape.expert and shape.expert_ranks > 1:
        found.append(
            Problem(
                "spec.parallelism.expert",
                "on cpu, vLLM's kernels do not know which experts a rank holds, and die of the first request",
                "leave expert out: every rank then holds a slice of each expert",
            )
        )
    return found


def _against_model(shape: Shape, facts: ModelFacts) -> list[Problem]:
    found = []
    if not splits_heads(shape.tensor, facts):
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
    elif said := uncut(facts, shape.tensor, 1 if shape.expert else shape.expert_ranks):
        whole = " (or set spec.parallelism.expert: true, for whole experts)" if facts.experts else ""
        found.append(Problem("spec.parallelism.tensor", said, f"use fewer tensor ranks{whole}"))
    if shape.pipeline > facts.layers:
        found.append(
            Problem(
                "spec.parallelism.pipeline",
                f"{shape.pipeline} stages are more than the {facts.layers} layers of {facts.architecture}",
                f"use {facts.layers} or fewer",
            )
        )
    if shape.expert:
        found.extend(_experts(shape, facts))
    return found


def _experts(shape: Shape, facts: ModelFacts) -> list[Problem]:
    """Numbers that do not divide are fine with vLLM (some ranks hold one more), ranks without an expert are not."""
    if not facts.experts:
        return [
            Problem(
                "spec.parallelism.expert",
                f"{facts.architecture} has no experts (config.json names none)",
                "leave expert out",
            )
        ]
    if shape.expert_ranks <= facts.experts:
        return []
    return [
        Problem(
            "spec.parallelism.expert",
            f"the {facts.experts} experts of {facts.architecture} are fewer than the {shape.expert_ranks} ranks that "
            f"would share them (data {shape.data} x tensor {shape.tensor})",
            "leave expert out, or use fewer ranks and more replicas",
        )
    ]


def _widths(facts: ModelFacts) -> str:
    return ", ".join(str(width) for width in range(1, facts.attention_heads + 1) if splits_heads(width, facts))


def _divisors(number: int) -> str:
    return ", ".join(str(candidate) for candidate in range(1, number + 1) if number % candidate == 0)
