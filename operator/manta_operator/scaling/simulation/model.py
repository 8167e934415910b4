"""How long an engine's step takes, and what it can hold: the physics of the simulation. Pure.

    step = fixed + per_sequence x sequences + per_prefill_token x prompt tokens + per_pair x pairs
         + per_context_token x tokens attended to                                          all divided by `speed`

A decode step reads every weight once (`fixed`) and the KV cache of each sequence (`per_context_token`); a prefill costs
2 FLOP per parameter and token, and attention over long prompts 4 x layers x hidden FLOP per pair of tokens. The numbers
are those of `manta_runtime.simulator.latency` and `benchmarks/affinity/gpu.py` (a test compares them; the sources are
named there): 8 x 10^9 parameters in 16 bits on one H100 at half of 990 TFLOP/s and 3.35 TB/s, 400,000 tokens of cache.
"""

import math
from dataclasses import dataclass

from manta_operator.scaling.simulation.trace import Request

_BANDWIDTH = 3.35e12
_FLOPS = 990e12 * 0.5
_PARAMETERS = 8e9
_KV_BYTES = 128 * 1024
_LAYERS, _HIDDEN = 32, 4096


@dataclass(frozen=True)
class EngineModel:
    """Times in seconds, sizes in tokens. `speed` 0.5: each step takes twice as long, as with a model twice as large."""

    fixed: float = 2 * _PARAMETERS / _BANDWIDTH + 1e-3
    per_sequence: float = 20e-6
    per_prefill_token: float = 2 * _PARAMETERS / _FLOPS
    per_pair: float = 4 * _LAYERS * _HIDDEN / _FLOPS
    per_context_token: float = _KV_BYTES / _BANDWIDTH
    speed: float = 1.0
    kv_tokens: int = 400_000
    sequences: int = 256
    step_tokens: int = 8192

    def step(self, sequences: int, prefill_tokens: int, pairs: float, context: int) -> float:
        """Return the duration of one step (s)."""
        return (
            self.fixed
            + self.per_sequence * sequences
            + self.per_prefill_token * prefill_tokens
            + self.per_pair * pairs
            + self.per_context_token * context
        ) / self.speed

    def decode(self, sequences: int, context: int, steps: int) -> float:
        """Return how long `steps` decode steps of the same sequences take, whose contexts grow by one each step (s)."""
        line = self.fixed + self.per_sequence * sequences
        return steps * (line + self.per_context_token * (context + sequences * (steps - 1) / 2)) / self.speed

    def decode_steps(self, sequences: int, context: int, seconds: float) -> int:
        """Return how many such steps it takes until `seconds` have passed, at least one."""
        square = self.per_context_token * sequences / 2
        line = self.fixed + self.per_sequence * sequences + self.per_context_token * context - square
        wanted = max(0.0, seconds) * self.speed
        if square == 0:
            return max(1, math.ceil(wanted / line))
        return max(1, math.ceil((math.sqrt(line * line + 4 * square * wanted) - line) / (2 * square)))

    def prefill(self, prompt_tokens: int) -> float:
        """Return the time to the first token of this prompt on an engine that does nothing else (s)."""
        steps = -(-prompt_tokens // self.step_tokens)
        linear = self.per_prefill_token * prompt_tokens + self.per_pair * prompt_tokens**2 / 2
        return (steps * (self.fixed + self.per_sequence) + linear) / self.speed

    def work(self, request: Request) -> float:
        """Return what a request costs an engine that is full, in seconds of the whole engine.

        Its prefill's arithmetic, its decoding's reads, and its part of the fixed cost of the steps, which as many
        sequences share as fit in the cache beside each other.
        """
        prompt, output = request.prompt_tokens, request.output_tokens
        beside = max(1.0, min(self.sequences, self.kv_tokens / (prompt + output)))
        linear = self.per_prefill_token * prompt + self.per_pair * prompt**2 / 2
        token = self.fixed / beside + self.per_sequence + self.per_context_token * (prompt + output / 2)
        return (linear + output * token) / self.speed

    def fits(self, request: Request) -> bool:
        """Whether the cache can hold the whole request; vLLM refuses others."""
        return request.prompt_tokens + request.output_tokens <= self.kv_tokens
