"""How many characters a token has and how long answers are, learned from the `usage` of answers; for `chooser.py`.

Engines tell the size of their caches in tokens, prompts come as characters: English has 4 to 5 characters a token,
code 3, Chinese 1 to 2, and each model its own vocabulary. A cache taken for smaller than it is costs hits.
"""

from dataclasses import dataclass

from manta_runtime.router.picker.prompts import CHARS_PER_TOKEN

# What is assumed at first weighs as much as this many tokens of real prompts.
_PRIOR_TOKENS = 20_000.0
# Older prompts count half after about so many tokens.
_MEMORY_TOKENS = 2_000_000.0
_LEAST, _MOST = 1.0, 8.0


@dataclass(slots=True)
class Lengths:
    """Sums over the requests that ended lately, older ones fading, and what they say.

    `chars_per_token`: characters of a prompt per token. `answer_chars`: how much room the answer of a request will take
    in a cache, as characters.
    """

    chars_per_token: float = float(CHARS_PER_TOKEN)
    answer_chars: int = 0

    _chars: float = _PRIOR_TOKENS * CHARS_PER_TOKEN
    _tokens: float = _PRIOR_TOKENS
    _answers: float = 0.0
    _ended: float = 1.0

    def learn(self, chars: int, prompt_tokens: int, completion_tokens: int) -> None:
        """A prompt of `chars` characters had `prompt_tokens` tokens, its answer `completion_tokens`."""
        if self._tokens > _MEMORY_TOKENS:
            self._chars /= 2
            self._tokens /= 2
            self._answers /= 2
            self._ended /= 2
        self._chars += chars
        self._tokens += prompt_tokens
        self._answers += completion_tokens
        self._ended += 1
        self.chars_per_token = min(_MOST, max(_LEAST, self._chars / self._tokens))
        self.answer_chars = int(self._answers / self._ended * self.chars_per_token)
