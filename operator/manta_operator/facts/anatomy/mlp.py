"""The weights of one feed-forward block: dense, or experts with a router and what every token passes. Pure.

vllm/model_executor/models and layers/fused_moe: experts are cut over tensor x data ranks, whole or in slices; the gate
that chooses them is on every rank, and so are the projections into a narrower width (Nemotron 3, Kimi K3).
"""

from collections.abc import Iterator

from manta_operator.facts.anatomy.fields import Fields
from manta_operator.facts.anatomy.parts import Weight, sliced, vector
from manta_operator.facts.anatomy.traits import Traits

_PLAIN_STEP = 128
"""What vLLM rounds a slice of an expert without a gate up to (quantization/utils/flashinfer_utils.py)."""


_GPT_OSS_STEP = 64
"""The same of gpt-oss's kernels on Hopper (fused_moe/oracle/mxfp4.py)."""


def dense(fields: Fields, traits: Traits, width: int, name: str = "mlp") -> Iterator[Weight]:
    """Yield a block of `width` between."""
    hidden = fields.hidden
    if traits.mlp == "gated":
        yield Weight(f"{name}.gate_proj", width, hidden)
    yield Weight(f"{name}.up_proj", width, hidden)
    yield Weight(f"{name}.down_proj", hidden, width, inner=True)
    if traits.mlp_bias == "yes" or (traits.mlp_bias and fields.flag(traits.mlp_bias)):
        yield sliced(f"{name}.biases", width * (2 if traits.mlp == "gated" else 1))
        yield vector(f"{name}.down_proj.bias", hidden)


def experts(fields: Fields, traits: Traits) -> Iterator[Weight]:
    """Yield the experts of one layer, their router, and the shared ones."""
    count, hidden = fields.experts, fields.hidden
    width = fields.number(traits.expert_width, "moe_intermediate_size", "expert_intermediate_size", "intermediate_size")
    narrow = fields.number("moe_latent_size", "routed_expert_hidden_size", default=0)
    yield Weight("mlp.gate", count, hidden, split="none", linear=False)
    if traits.router_bias:
        yield vector("mlp.gate.bias", count)
    if traits.correction:
        yield vector("mlp.gate.e_score_correction_bias", count, "float32")
    if narrow:
        kept = fields.get("routed_expert_hidden_size") is not None  # Kimi K3's are in 16 bits: the bytes of its files
        yield Weight("mlp.fc1_latent_proj", narrow, hidden, split="none", linear=not kept)
        yield Weight("mlp.fc2_latent_proj", hidden, narrow, split="none", linear=not kept)
        if fields.flag("latent_moe_use_norm"):
            yield vector("mlp.latent_norm", narrow)
    inner = narrow or hidden
    step = _PLAIN_STEP if traits.mlp == "plain" else _GPT_OSS_STEP if traits.expert_bias else 0
    if traits.mlp == "gated":
        yield Weight("mlp.experts.0.gate_proj", width, inner, count, "experts", step=step)
    yield Weight("mlp.experts.0.up_proj", width, inner, count, "experts", step=step)
    yield Weight("mlp.experts.0.down_proj", inner, width, count, "experts", inner=True, step=step)
    if traits.expert_bias:
        yield Weight("mlp.experts.biases", 2 * width + inner, 1, count, "experts", linear=False)
    yield from _shared(fields, traits, width)


def _shared(fields: Fields, traits: Traits, width: int) -> Iterator[Weight]:
    """Yield the experts that every token passes."""
    names = ("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size", "shared_intermediate_size")
    many = fields.number(
        "n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "shared_experts", default=0
    )
    if fields.family in ("llama4", "llama4_text"):
        many = 1
    size = fields.number(*names, default=0)
    if fields.get("moe_shared_expert_intermediate_size") is not None:
        size *= many or 1
    if not (total := size or many * width):
        return
    yield from dense(fields, traits, total, "mlp.shared_experts")
    if traits.gate_of_shared:
        yield Weight("mlp.shared_expert_gate", 1, fields.hidden, split="none", linear=False)
