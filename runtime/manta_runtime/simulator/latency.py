"""How long one step of the simulated engine takes. Pure; the formula of the roofline model.

    step = fixed + per_sequence x sequences + per_prefill_token x prompt tokens + per_context_token x tokens attended to

A decode step is bound by memory: it reads every weight once, whatever the batch (`fixed`), and the KV cache of each
sequence (`per_context_token`). A prefill is bound by arithmetic: 2 FLOP per parameter and token (`per_prefill_token`).
(Pope et al., "Efficiently Scaling Transformer Inference", 2022, section 2; kernel launches and sampling are
`per_sequence`.) So the time to first token is queue + fixed + per_prefill_token x prompt tokens not in the prefix
cache, and the latency between tokens grows with the batch and its contexts; neither is set anywhere directly.

The defaults are computed, not measured: 8 x 10^9 parameters in 16 bits on one H100 (3.35 TB/s; 990 TFLOP/s, of which
half is reached), 128 KiB of KV cache per token (32 layers, 8 KV heads of 128).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_BANDWIDTH = 3.35e12
_FLOPS = 990e12 * 0.5
_PARAMETERS = 8e9
_KV_BYTES = 128 * 1024


@dataclass(frozen=True)
class LatencyModel:
    """The four terms in seconds, `jitter` (largest relative deviation of a step) and `speed` (2: twice as fast)."""

    fixed: float = 2 * _PARAMETERS / _BANDWIDTH + 1e-3
    per_sequence: float = 20e-6
    per_prefill_token: float = 2 * _PARAMETERS / _FLOPS
    per_context_token: float = _KV_BYTES / _BANDWIDTH
    jitter: float = 0.05
    speed: float = 1.0

    def seconds(self, sequences: int, prefill_tokens: int, context_tokens: int, chance: random.Random) -> float:
        """Return the duration of a step over `sequences`, `prefill_tokens` of which are computed for the first time."""
        ideal = (
            self.fixed
            + self.per_sequence * sequences
            + self.per_prefill_token * prefill_tokens
            + self.per_context_token * context_tokens
        )
        return ideal * (1 + chance.uniform(-self.jitter, self.jitter)) / self.speed
