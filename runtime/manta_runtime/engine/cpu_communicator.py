"""What vLLM's CPU communicator lacks for experts over data ranks: two collectives, over torch.distributed.

vLLM 0.32 gathers the tokens of all data ranks before a layer of experts and scatters the sums after it. Its class
for CPUs can do neither, and the engine dies of the first request; `cpu_platform.py` names this one instead. It is for
trying shapes without accelerators: every rank gets whole tensors, which is not how one would make it fast.
"""

from __future__ import annotations

from typing import Any


def all_gatherv(communicator: Any, input_: Any, dim: int = 0, sizes: list[int] | None = None) -> Any:
    """Return the tensors of all ranks one after the other; rank n has `sizes[n]` rows (None: all as many)."""
    if isinstance(input_, list):
        return [all_gatherv(communicator, each, dim, sizes) for each in input_]
    if sizes is None:
        return communicator.all_gather(input_, dim)
    import torch  # noqa: PLC0415 - seconds of import, and only engines have it

    pieces = [input_.new_empty((size, *input_.shape[1:])) for size in sizes]
    pieces[communicator.rank_in_group].copy_(input_)
    for source, piece in zip(communicator.ranks, pieces, strict=True):
        if piece.numel():
            # As bytes: gloo does not know every type that a model computes in.
            torch.distributed.broadcast(piece.view(torch.uint8), src=source, group=communicator.device_group)
    return torch.cat(pieces)


def reduce_scatterv(communicator: Any, input_: Any, dim: int = -1, sizes: list[int] | None = None) -> Any:
    """Return this rank's rows of the sum over all ranks; rank n gets `sizes[n]` of them (None: all as many)."""
    if dim != 0 or sizes is None:
        return communicator.reduce_scatter(input_, dim)
    summed = communicator.all_reduce(input_.contiguous())
    return summed.split(sizes)[communicator.rank_in_group].contiguous()


def __getattr__(name: str) -> Any:
    # Made on first use: vLLM's modules cost seconds, and only its own processes need the class.
    if name != "CpuExpertsCommunicator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator  # noqa: PLC0415

    made = type(
        "CpuExpertsCommunicator",
        (CpuCommunicator,),
        {
            "__module__": __name__,
            "__doc__": "CpuCommunicator that can exchange the tokens of data ranks.",
            "all_gatherv": all_gatherv,
            "reduce_scatterv": reduce_scatterv,
        },
    )
    globals()[name] = made
    return made
