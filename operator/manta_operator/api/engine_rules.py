"""The CEL rules about the options of `spec.engine`: which of them go together.

Read by `rules.py`. Those of `ENGINE_RULES` stand at `spec`: an API server tries a rule on the bare default of
`spec.engine`, which has none of its fields.
"""

from manta_operator.api.engine_words import NEEDS_MODEL, TAKES_NO_MODEL
from manta_operator.api.rule import Rule


def _any_of(words: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


ENGINE_RULES = (
    Rule(
        "!has(self.engine.ropeScaling) || !self.engine.args.exists(a, a.matches('^--hf[-_]o[a-z]*([.=]|$)'))",
        "ropeScaling becomes vLLM's --hf-overrides, and the last of two wins: "
        "leave --hf-overrides out of spec.engine.args, or scale the positions there",
        field_path=".engine.ropeScaling",
    ),
    Rule(
        "!has(self.engine.chunkedPrefill) || self.engine.chunkedPrefill || !has(self.engine.maxModelLen) || "
        "!has(self.engine.maxNumBatchedTokens) || self.engine.maxNumBatchedTokens >= self.engine.maxModelLen",
        "without chunkedPrefill a prompt is computed in one step, so that this must be at least maxModelLen: "
        "raise it, lower maxModelLen, or leave chunkedPrefill out",
        field_path=".engine.maxNumBatchedTokens",
    ),
    Rule(
        "!has(self.engine.maxNumBatchedTokens) || !has(self.engine.maxNumSeqs) || "
        "self.engine.maxNumBatchedTokens >= self.engine.maxNumSeqs",
        "every running request computes a token in a step, so that this must be at least maxNumSeqs: "
        "raise it, or lower maxNumSeqs",
        field_path=".engine.maxNumBatchedTokens",
    ),
    Rule(
        "!self.engine.structuredOutputs.disableAnyWhitespace || "
        "self.engine.structuredOutputs.backend in ['xgrammar', 'guidance']",
        "only xgrammar and guidance can leave white space out, and with auto vLLM does not start: "
        "name one of them in backend, or leave this out",
        field_path=".engine.structuredOutputs.disableAnyWhitespace",
    ),
    Rule(
        "!self.engine.structuredOutputs.disableAdditionalProperties || "
        "self.engine.structuredOutputs.backend == 'guidance'",
        "only guidance knows it, and with another backend vLLM does not start: "
        "set backend: guidance, or leave this out",
        field_path=".engine.structuredOutputs.disableAdditionalProperties",
    ),
)

_GUESSES_FROM_TEXT = "self.method in ['ngram', 'ngram_gpu']"

SPECULATIVE_RULES = (
    Rule(
        f"!(self.method in {_any_of(NEEDS_MODEL)}) || has(self.model)",
        "this method guesses with weights of its own: name them in model.uri, or use ngram, which needs none",
        field_path=".model",
    ),
    Rule(
        f"!(self.method in {_any_of(TAKES_NO_MODEL)}) || !has(self.model)",
        "this method guesses from the text, without a model: leave model out, or use draft_model",
        field_path=".model",
    ),
    Rule(
        f"!has(self.promptLookupMax) || {_GUESSES_FROM_TEXT}",
        "only ngram looks into the prompt: leave it out, or use method ngram",
        field_path=".promptLookupMax",
    ),
    Rule(
        f"!has(self.promptLookupMin) || {_GUESSES_FROM_TEXT}",
        "only ngram looks into the prompt: leave this out, or use method ngram",
        field_path=".promptLookupMin",
    ),
    Rule(
        "!has(self.promptLookupMin) || !has(self.promptLookupMax) || self.promptLookupMin <= self.promptLookupMax",
        "promptLookupMin must be at most promptLookupMax: lower it, or leave one of them out",
        field_path=".promptLookupMin",
    ),
)
