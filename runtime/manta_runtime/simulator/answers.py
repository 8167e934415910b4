"""The simulated model: an answer is a pure function of its prompt, so whoever asked can check every word of it.

Tokens are four bytes of text each (English has about four characters a token), numbered reversibly: no vocabulary.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TOKEN_BYTES = 4
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


@dataclass(frozen=True)
class Answer:
    """The pieces of text, one per token generated (a piece is "" past a stop word), and why it ends."""

    pieces: tuple[str, ...]
    finish_reason: Literal["stop", "length"]
    stop_reason: str | None = None

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.pieces)


def tokenize(text: str) -> tuple[int, ...]:
    """Return the tokens of `text`: its UTF-8 bytes by fours, the number of bytes in front."""
    data = text.encode()
    chunks = (data[start : start + TOKEN_BYTES] for start in range(0, len(data), TOKEN_BYTES))
    return tuple(len(chunk) << 32 | int.from_bytes(chunk) for chunk in chunks)


def detokenize(tokens: Iterable[int]) -> str:
    """Return the text of tokens; ValueError for a number that is none."""
    data = b""
    for token in tokens:
        if not 1 <= token >> 32 <= TOKEN_BYTES:
            raise ValueError(f"token {token} is not one of the simulator's")
        data += (token & 0xFFFFFFFF).to_bytes(TOKEN_BYTES)[-(token >> 32) :]
    return data.decode(errors="replace")


def answer(prompt: str, *, max_tokens: int, natural: int, stop: Sequence[str] = (), choice: int = 0) -> Answer:
    """Return the answer to `prompt`.

    Args:
        prompt: The text asked with.
        max_tokens: Tokens at most.
        natural: Tokens of an average answer that nobody cuts short; 0: none ends by itself.
        stop: Words that end the answer, left out of it.
        choice: Which of several answers to one prompt.
    """
    seed = hashlib.sha256(f"{choice}/{prompt}".encode()).digest()
    length = max(1, natural // 2 + int.from_bytes(seed[:4]) % natural) if natural else max_tokens + 1
    count = min(length, max_tokens)
    pieces = [_word(seed, index) for index in range(count)]
    ends = [(found, word) for word in stop if word and (found := "".join(pieces).find(word)) >= 0]
    if ends:
        end, word = min(ends)
        used = (end + len(word) - 1) // TOKEN_BYTES + 1
        return Answer(tuple(_cut(pieces[:used], end)), "stop", word)
    return Answer(tuple(pieces), "stop" if length <= max_tokens else "length")


def _word(seed: bytes, index: int) -> str:
    digest = hashlib.blake2b(index.to_bytes(4), key=seed, digest_size=TOKEN_BYTES).digest()
    letters = "".join(_LETTERS[byte % 32] for byte in digest)
    return letters if index == 0 else " " + letters[1:]


def _cut(pieces: Sequence[str], end: int) -> Iterable[str]:
    for index, piece in enumerate(pieces):
        yield piece[: max(0, end - index * TOKEN_BYTES)]
