"""The CEL rules about the shape of a replica: ranks, pods, executor, accelerator. Read by `rules.py`."""

from manta_operator.api.rule import Rule

_RANKS = (
    "(has(self.parallelism.data) ? self.parallelism.data : 1) * self.parallelism.tensor * self.parallelism.pipeline"
)
_ALL_SAID = "has(self.parallelism.tensor) && has(self.parallelism.pipeline) && has(self.accelerator.perPod)"
_WIDTH = "(self.parallelism.tensor * self.parallelism.pipeline)"

SHAPE_RULES = (
    Rule(
        f"!({_ALL_SAID}) || ({_RANKS}) % self.accelerator.perPod == 0",
        "parallelism.data x tensor x pipeline must be a multiple of accelerator.perPod, "
        "so that every pod of a replica gets the same number of accelerators",
        field_path=".accelerator.perPod",
    ),
    Rule(
        f"!({_ALL_SAID}) || !has(self.parallelism.data) || self.parallelism.data == 1 || "
        f"self.accelerator.perPod % {_WIDTH} == 0 || {_WIDTH} % self.accelerator.perPod == 0",
        "with parallelism.data, every pod must hold whole engines of tensor x pipeline accelerators, or every engine "
        "whole pods: make accelerator.perPod a multiple or a divisor of tensor x pipeline",
        field_path=".accelerator.perPod",
    ),
    Rule(
        f"self.engine.executor != 'mp' || !({_ALL_SAID}) || {_RANKS} <= self.accelerator.perPod",
        "executor mp works within one pod, but data x tensor x pipeline is more than accelerator.perPod: "
        "use ray or auto, or raise accelerator.perPod",
        field_path=".engine.executor",
    ),
)
"""Rules of spec."""

ACCELERATOR_RULES = (
    Rule(
        "self.type != 'other' || has(self.resource)",
        "type other says nothing of the accelerator: name the extended resource of its device plugin, "
        "for example amd.com/gpu",
        field_path=".resource",
    ),
    Rule(
        "self.type == 'other' || !has(self.resource)",
        "Manta knows the resource of this type: leave resource out, or use type other",
        field_path=".resource",
    ),
    Rule(
        "self.type == 'other' || !has(self.memory)",
        "Manta knows the memory of this type: leave memory out, or use type other",
        field_path=".memory",
    ),
)
"""Rules of spec.accelerator."""
