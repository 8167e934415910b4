"""The parts of `spec.engine` with fields of their own: how tokens are guessed, how far positions reach, what is parsed.

Part of the frozen models; `engine.py` puts them into EngineSpec. `builders.engine_options` makes vLLM's flags of them.
"""

from typing import Annotated

from pydantic import Field

from manta_operator.api.engine_words import RopeType, SpeculativeMethod, StructuredOutputsBackend
from manta_operator.api.fields import ENDPOINT_PATTERN, REGION_PATTERN, Frozen, ObjectName, ShortText


class DraftModel(Frozen):
    """Where the weights of what guesses come from. The fields mean what they mean in spec.model."""

    uri: Annotated[str, Field(min_length=1, max_length=1024)]
    """hf://, s3://, gs:// (fetched beside the model, into the same cache), pvc://, oci:// or file:///."""
    revision: ShortText | None = None
    """Branch, tag or commit on the Hugging Face Hub; hf:// only. Omitted: the newest of the main branch."""
    endpoint: Annotated[str, Field(pattern=ENDPOINT_PATTERN, max_length=512)] | None = None
    """Address of another hub or store than the public one. Omitted: huggingface.co, AWS, Google Cloud."""
    region: Annotated[str, Field(pattern=REGION_PATTERN, max_length=64)] | None = None
    """Region of the bucket; s3:// only. Omitted: us-east-1."""
    credentials_secret: ObjectName | None = None
    """Name of a Secret with the keys that spec.model.credentialsSecret has.
    Omitted: nothing secret, or the identity of the pod; that of spec.model is not used."""


class Speculative(Frozen):
    """Tokens are guessed cheaply and checked by the model together: the answer stays the same, and may come sooner."""

    method: SpeculativeMethod
    """What guesses, in vLLM's words. ngram: what followed the same words in the prompt; draft_model: a small model with
    the same vocabulary; eagle, eagle3, medusa, mlp_speculator, dflash: heads trained for this model; mtp, dspark: what
    the model itself brings, or a checkpoint of it; suffix: earlier answers (needs arctic-inference in the image)."""
    tokens: Annotated[int, Field(ge=1, le=128)]
    """Most tokens that are guessed at a time. 3 to 5 is a good start: wrong guesses cost time under load."""
    model: DraftModel | None = None
    """The weights that guess. Its memory is not counted in status.fit."""
    prompt_lookup_max: Annotated[int, Field(ge=1, le=128)] | None = None
    """Longest row of tokens that is looked up in the prompt; ngram only. Omitted: promptLookupMin, or 5."""
    prompt_lookup_min: Annotated[int, Field(ge=1, le=128)] | None = None
    """Shortest row of tokens that is looked up; ngram only. Omitted: promptLookupMax, or 5."""


class RopeScaling(Frozen):
    """Longer contexts than the model was trained for, at the cost of some quality: of short prompts, too."""

    type: RopeType
    """How: yarn (what Qwen and others recommend), linear, dynamic, or llama3 (lowFreqFactor 1, highFreqFactor 4)."""
    factor: Annotated[float, Field(ge=1, le=1024)]
    """How many times as long. 4 makes 131072 tokens of 32768."""
    original_max_position_embeddings: Annotated[int, Field(ge=1, le=2_000_000_000)] | None = None
    """Length that the factor counts from, in tokens. Omitted: max_position_embeddings of the model's config.json.
    A model that scales its positions already needs it."""


class StructuredOutputs(Frozen):
    """How answers are held to a JSON schema, a grammar or a choice."""

    backend: StructuredOutputsBackend = "auto"
    """What holds them, in vLLM's words. auto: vLLM chooses for each request."""
    disable_any_whitespace: bool = False
    """JSON without free white space: some models otherwise never stop writing it. xgrammar and guidance only,
    named in backend."""
    disable_additional_properties: bool = False
    """Take objects of a JSON schema to have no more properties than it names. guidance only, named in backend."""
    enable_in_reasoning: bool = False
    """Hold the reasoning to it, too, and not only the answer after it."""
