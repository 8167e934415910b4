"""Prompts made again from the ids of their blocks, and read by the router's own parser. Pure.

Text has 4.5 characters a token, about what English has with today's vocabularies, while the router estimates 4: its
counts are wrong by an eighth here, as they are in life, and its blocks of text do not end where the engine's blocks do.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from affinity.traces import BLOCK_TOKENS, Ask
from manta_runtime.router.picker.request import Request, parse

CHARACTERS_PER_TOKEN = 4.5
MODEL = "traced"
PATH = "/v1/completions"
_BLOCK_CHARACTERS = int(BLOCK_TOKENS * CHARACTERS_PER_TOKEN)


@lru_cache(maxsize=4096)
def block_text(block: int) -> str:
    """Return the text of a whole block: equal for equal ids, different from the first characters on for others."""
    word = hashlib.blake2b(str(block).encode(), digest_size=15).hexdigest() + ", "
    return (word * (_BLOCK_CHARACTERS // len(word) + 1))[:_BLOCK_CHARACTERS]


def prompt(ask: Ask) -> str:
    """Return the prompt of a request; tokens beyond its ids are its own."""
    text = "".join(block_text(block) for block in ask.blocks)
    length = int(ask.prompt_tokens * CHARACTERS_PER_TOKEN)
    if len(text) < length:
        text += block_text(-1 - ask.index) * ((length - len(text)) // _BLOCK_CHARACTERS + 1)
    return text[:length]


def body(ask: Ask) -> bytes:
    """Return the request as a client sends it, which does not know how long the answer will be."""
    return json.dumps({"model": MODEL, "prompt": prompt(ask), "stream": True}).encode()


def beginning(ask: Ask, characters: int) -> str:
    """Return the first characters of the prompt, at most a block's."""
    text = block_text(ask.blocks[0]) if ask.blocks else block_text(-1 - ask.index)
    return text[: min(characters, int(ask.prompt_tokens * CHARACTERS_PER_TOKEN))]


def block_characters(ask: Ask, place: int) -> int:
    """Return how many characters the block at `place` has in the prompt."""
    length = int(ask.prompt_tokens * CHARACTERS_PER_TOKEN)
    return max(1, min(_BLOCK_CHARACTERS, length - place * _BLOCK_CHARACTERS))


@lru_cache(maxsize=1 << 17)
def request(ask: Ask) -> Request:
    """Return the request as the router's parser reads it; kept, for every policy and router asks for the same."""
    return parse(PATH, b"application/json", body(ask))
