"""Embeddings, told as vLLM tells them with `--runner pooling`: a text's hash as a vector. Part of `speaking.py`."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from typing import TYPE_CHECKING, Any

from manta_runtime.simulator import bodies
from manta_runtime.simulator.forms import missing
from manta_runtime.simulator.protocol import parse
from manta_runtime.simulator.speaking import Dialect, Json, Telling, compact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from manta_runtime.simulator.protocol import Asked
    from manta_runtime.simulator.settings import Settings

DIMENSIONS = 64


def vector(text: str) -> tuple[float, ...]:
    """The embedding of a text: DIMENSIONS numbers, length 1."""
    raw = hashlib.shake_256(text.encode()).digest(2 * DIMENSIONS)
    numbers = [value + 0.5 for value in struct.unpack(f"<{DIMENSIONS}h", raw)]
    length = math.sqrt(sum(number * number for number in numbers))
    return tuple(number / length for number in numbers)


def _read(body: Mapping[str, Any], settings: Settings) -> Asked:
    """As completions of one token, which costs what an embedding does: to read the prompt. Raises Refused."""
    if body.get("input") is None:
        raise missing(body, "input")
    same = {name: body[name] for name in ("model", "user") if name in body}
    return parse(same | {"prompt": body["input"], "max_tokens": 1}, "completion", settings)


def _whole(telling: Telling) -> Json:
    packed = telling.body.get("encoding_format") == "base64"
    data = [
        {"index": index, "object": "embedding", "embedding": _packed(found) if packed else list(found)}
        for index, found in enumerate(map(vector, telling.asked.prompts))
    ]
    start = {"id": telling.identity, "object": "list", "created": telling.created, "model": telling.asked.model}
    return start | {"data": data, "usage": bodies.usage(telling.prompt_tokens, 0, None)}


def _packed(numbers: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


async def _events(telling: Telling) -> AsyncIterator[bytes]:
    """There are no streams of embeddings, and `stream` is not read."""
    for each in (_whole(telling),):
        yield compact(each).encode()


EMBEDDINGS = Dialect("embd", _read, _whole, _events)
