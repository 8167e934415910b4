"""What a model computes and reads for one token: the terms of the roofline. Pure.

    active       parameters that compute a token: all of them but the table of embeddings, which is only looked up, and
                 of experts those that the router chooses
    read         bytes of weights that one step reads on a rank: of experts those that any token of the step has chosen,
                 experts x (1 - (1 - chosen/experts)^tokens), as if the router chose evenly
    attention    operations of the scores and sums of one prompt: 4 x heads x head dimension for each pair of tokens

Parameters come from the anatomy where it is known, else from the bytes of the checkpoint.
"""

from dataclasses import dataclass

from manta_operator.facts.anatomy.parts import Weight
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.shape import Shape

_LATENT_HEAD = 160
"""Mean of what a head of latent attention has for keys and for values while it computes a prompt: 192 and 128."""
_HEAD, _TABLE = "lm_head", "embed_tokens"


@dataclass(frozen=True)
class Work:
    """A model's parameters: `active` for a token, of which `expert` are in experts; `idle` are loaded and not read.

    `dense` and `experts` are all that there are outside of experts and in them.
    """

    dense: float
    experts: float
    idle: float
    chosen: float
    """Share of the experts that computes a token."""

    @property
    def active(self) -> float:
        """Parameters that compute one token."""
        return self.dense - self.idle + self.experts * self.chosen

    def read(self, weights: float, shape: Shape, tokens: float) -> float:
        """Return the bytes that a step of so many `tokens` reads of the `weights` bytes of a rank."""
        held = self.experts / shape.data + self.dense
        bytes_each = weights / held if held else 0.0
        touched = 1 - (1 - self.chosen) ** max(1.0, tokens * shape.data) if self.experts else 0.0
        return bytes_each * (self.dense - self.idle + self.experts / shape.data * touched)


def work(facts: ModelFacts) -> Work | None:
    """Return the parameters of a model; None where they are not known."""
    chosen = min(1.0, facts.experts_per_token / facts.experts) if facts.experts else 1.0
    if facts.experts and not facts.experts_per_token:
        return None
    anatomy = facts.anatomy
    if anatomy is not None:
        inner = [weight for layer in anatomy.layers for weight in layer]
        experts = sum(weight.parameters for weight in inner if weight.split == "experts")
        layers = sum(weight.parameters for weight in inner) - experts
        head = _named(anatomy.outside, _HEAD) or _named(anatomy.outside, _TABLE)
        outside = sum(weight.parameters for weight in anatomy.outside)
        return Work(layers + outside, experts, outside - head, chosen)
    total = facts.parameters or (facts.weights_bytes or 0) / (1.0 if facts.quantization else facts.dtype_bytes)
    return Work(total * (1 - facts.expert_share), total * facts.expert_share, 0.0, chosen) if total else None


def attention(facts: ModelFacts, prompt: int) -> float:
    """Return the operations of attention over a prompt of so many tokens, in all layers and heads.

    Each token looks at those before it, half of all pairs; in a window, at no more than it spans.
    """
    head = _LATENT_HEAD if facts.latent_dim else facts.head_dim
    pairs = 0.0
    if facts.caches:
        for cache in facts.caches:
            if cache.kind in ("full", "latent"):
                pairs += prompt * prompt / 2
            elif cache.kind in ("window", "chunked"):
                span = min(prompt, cache.window or prompt)
                pairs += span * (prompt - span / 2)
    else:
        pairs = facts.layers * prompt * prompt / 2
    return 4 * facts.attention_heads * head * pairs


def _named(weights: tuple[Weight, ...], name: str) -> int:
    return sum(weight.parameters for weight in weights if weight.name.endswith(name))
