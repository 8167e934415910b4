"""How vLLM's flags cut the replica into ranks, and what vLLM must be told about data parallelism. Pure.

    width = tensor x pipeline      ranks of one engine, which holds the whole model
    ranks = data x width           one accelerator each; every data rank is an engine of its own with its own KV cache

In one pod (executor mp) vLLM starts the engines itself. Over pods they are Ray's: a pod holds several engines, or an
engine spans several pods, and vLLM has one way of placing them for each (docs/adr/0021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manta_runtime.engine.vllm_flags import count_flag

if TYPE_CHECKING:
    from collections.abc import Sequence

PACK_STRATEGY = "VLLM_RAY_DP_PACK_STRATEGY"
"""vLLM's environment variable: `strict` (its default) puts whole engines on nodes, `span` one engine on several."""


@dataclass(frozen=True)
class Ranks:
    """The cut of one replica, by vLLM's flags."""

    data: int
    tensor: int
    pipeline: int

    @property
    def width(self) -> int:
        """Ranks of one engine."""
        return self.tensor * self.pipeline

    @property
    def total(self) -> int:
        """Ranks of the replica."""
        return self.data * self.width

    def __str__(self) -> str:
        data = f"data {self.data} x " if self.data > 1 else ""
        return f"{data}tensor {self.tensor} x pipeline {self.pipeline}"


def read_ranks(flags: Sequence[str]) -> Ranks:
    """Read the cut from vLLM's flags. Raises ValueError with a message."""
    return Ranks(
        data=count_flag(flags, "--data-parallel-size"),
        tensor=count_flag(flags, "--tensor-parallel-size"),
        pipeline=count_flag(flags, "--pipeline-parallel-size"),
    )


def engines_per_pod(ranks: Ranks, per_pod: int) -> int:
    """Return how many engines begin in one pod of `per_pod` accelerators: at least the one that spans it."""
    return max(1, per_pod // ranks.width)


def problem_of_engines(ranks: Ranks, per_pod: int) -> str:
    """Return why the engines of a replica cannot be laid over its pods, "" if they can."""
    if ranks.data == 1 or per_pod % ranks.width == 0 or ranks.width % per_pod == 0:
        return ""
    return (
        f"a data rank takes {ranks.width} accelerators (tensor {ranks.tensor} x pipeline {ranks.pipeline}), which "
        f"neither divide nor are a multiple of the {per_pod} of a pod: change spec.accelerator.perPod."
    )


def ray_data_flags(ranks: Ranks, per_pod: int, address: str) -> list[str]:
    """Return vLLM's flags that make Ray place the data ranks; `address` is the head's, none without data ranks."""
    if ranks.data == 1:
        return []
    return [
        "--data-parallel-backend=ray",
        f"--data-parallel-address={address}",
        f"--data-parallel-size-local={engines_per_pod(ranks, per_pod)}",
    ]


def ray_data_environment(ranks: Ranks, per_pod: int) -> dict[str, str]:
    """Return the environment that goes with `ray_data_flags`."""
    if ranks.data == 1:
        return {}
    return {PACK_STRATEGY: "span" if ranks.width > per_pod else "strict"}
