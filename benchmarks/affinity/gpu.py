"""How long a step of an engine takes: the simulator's model plus the arithmetic of attention over long prompts. Pure.

`manta_runtime.simulator.latency` is a roofline of Llama-3.1-8B in 16 bits on one H100: 2 FLOP per parameter and prompt
token at half of 990 TFLOP/s (30,900 tokens/s), every weight read once per step at 3.35 TB/s (5.8 ms with 1 ms for all
else), 128 KiB of KV cache read per token of context (Pope et al., "Efficiently Scaling Transformer Inference", 2022,
section 2; NVIDIA's H100 data sheet). Its prompts are short; those of traces reach 10^5 tokens, where attention costs
more than the weights: 4 x layers x hidden FLOP per pair of a prompt token and a token before it (Kaplan et al.,
"Scaling Laws for Neural Language Models", 2020, table 1: 2 x layers x hidden for the scores, as much for their sum).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manta_runtime.simulator.latency import LatencyModel

if TYPE_CHECKING:
    from manta_runtime.simulator.scheduler import Step

KV_TOKENS = 400_000
"""What Llama-3.1-8B leaves of an 80 GB card: 80 x 0.9 - 16 (weights) - 3.5 (the rest) GB, at 128 KiB a token."""

_LAYERS, _HIDDEN = 32, 4096
_FLOPS = 990e12 * 0.5


@dataclass(frozen=True)
class Gpu:
    """Durations in seconds; without jitter, so that every policy meets the same engine."""

    latency: LatencyModel = field(default_factory=lambda: LatencyModel(jitter=0.0))
    per_pair: float = 4 * _LAYERS * _HIDDEN / _FLOPS

    def step(self, step: Step) -> float:
        """Return the duration of one step."""
        pairs = 0.0
        for sequence, count in step.shares:
            if sequence.computed < sequence.prompt_tokens:
                pairs += count * (sequence.computed + count / 2)
        return (
            self._linear(len(step.shares), step.context_tokens)
            + self.latency.per_prefill_token * step.prefill_tokens
            + self.per_pair * pairs
        )

    def decode(self, sequences: int, context: int, steps: int) -> float:
        """Return the duration of `steps` decode steps of the same sequences, whose contexts grow by one each step."""
        return steps * self._linear(sequences, context + sequences * (steps - 1) / 2)

    def decode_steps(self, sequences: int, context: int, seconds: float) -> int:
        """Return how many such steps it takes until `seconds` have passed, at least one."""
        square = self.latency.per_context_token * sequences / 2
        line = self._linear(sequences, context) - square
        if square == 0:
            return max(1, math.ceil(seconds / line))
        return max(1, math.ceil((math.sqrt(line * line + 4 * square * max(0.0, seconds)) - line) / (2 * square)))

    def _linear(self, sequences: int, context: float) -> float:
        model = self.latency
        return model.fixed + model.per_sequence * sequences + model.per_context_token * context
