"""A prompt as text, and the text as blocks with chained hashes: equal prefix, equal leading hashes; for `request.py`.

The text is what a chat template would render, near enough: model, tools, then the messages in order. It does not
depend on the order of keys or on white space in the JSON, and the text of a conversation is a prefix of the text of
its next turn. Blocks are small at the start of a prompt, where prompts part, and grow further in, so that a prompt of
10 MB has a few hundred: how long a block is follows from its place in the prompt (`CHARS_BEFORE`).

Hashes are Python's own of `str`: SipHash with a key of this process. Nobody outside knows the key, so nobody can make
prompts collide; and a collision would only send a request to a replica that has not cached it.
What routers have to agree on without talking goes by `digest64`, which has no key.
"""

from array import array
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import accumulate, count
from typing import Any

import msgspec

from manta_runtime.router.picker.bodies import MOST_PIECES, Body, Message, Part, TooManyPiecesError, canonical

CHARS_PER_TOKEN = 4

# (characters of a block, up to where in the prompt); beyond the last one, text is not looked at.
SCHEDULE = ((256, 1 << 10), (512, 4 << 10), (1024, 64 << 10), (4096, 2 << 20))
# Characters in the first n blocks of a prompt, for every n.
CHARS_BEFORE = tuple(
    accumulate(
        (
            size
            for (size, until), start in zip(SCHEDULE, (0, *(u for _, u in SCHEDULE)), strict=False)
            for _ in range((until - start) // size)
        ),
        initial=0,
    )
)
_TOKENS_BEFORE = tuple(chars // CHARS_PER_TOKEN for chars in CHARS_BEFORE)
# What a picture weighs: this many characters (512 tokens), all made of its digest; but no more than so many times what
# the body has of it, and beyond so many pictures it is only told apart from others: a small body is no huge prompt.
_MEDIA_CHARS, _MEDIA_TIMES, _MEDIA_WEIGHED = 2048, 32, 128
_DIGEST_CHARS = 16
_MEDIA_SAMPLE = 4096
# Of what routers agree on, so much is read in each place.
_SAMPLE = 1024
_MEDIA_FIELDS = ("image_url", "video_url", "audio_url", "input_audio", "source", "file")
_TOOLS_KEPT, _TOOLS_MAX = 128, 256 << 10

_tools: dict[int, str] = {}

# Numbers the pieces of one body that are neither text nor token ids: each takes microseconds.
Pieces = Iterator[int]


def text_of(body: Body) -> str:
    """The prompt in `body` as text, everything that decides what the engine's cache can reuse included.

    TooManyPiecesError if that would take too long.
    """
    odd = count()
    pieces = [body.model or "", "\0", body.cache_salt or ""]
    if len(body.tools) > len("null"):
        pieces += ("\0t", _tools_text(bytes(body.tools)))
    if body.instructions is not None:
        pieces += ("\0system\0", body.instructions)
    if body.system is not None:
        pieces += ("\0system\0", body.system if isinstance(body.system, str) else _parts(body.system, odd))
    messages = body.messages or ()
    if len(messages) > MOST_PIECES:
        raise TooManyPiecesError
    for message in messages:
        _add_message(pieces, message, odd)
    if body.prompt is not None:
        pieces += ("\0p", _prompts(body.prompt, odd))
    if body.input is not None:
        pieces += ("\0p", _prompts(body.input, odd))
    for extra in (body.query, body.queries, body.text_1, body.data_1, body.documents, body.text_2, body.data_2):
        if extra is not None:
            pieces += ("\0p", _prompts(extra, odd))
    return "".join(pieces)


def blocks_of(text: str) -> tuple[int, ...]:
    """Chained hashes of the whole blocks of `text`; what is left over at its end belongs to no block."""
    found = []
    chain = 0
    start, length = 0, len(text)
    for size, until in SCHEDULE:
        for end in range(start + size, min(until, length) + 1, size):
            chain = hash((chain, text[start:end]))
            found.append(chain)
            start = end
        if start < until:
            break
    return tuple(found)


def head_of(body: Body, text: str) -> str:
    """What tells conversations apart from their first request on: samples of the start and of the first question."""
    head = text[:_SAMPLE]
    for message in body.messages or ():
        if message.role == "user":
            content = message.content
            if not isinstance(content, str):
                content = next((part.text for part in content or () if part.text), "")
            return f"{head}{content[:_SAMPLE]}{content[-_SAMPLE:]}"
    return head


def cached_tokens(blocks: int) -> int:
    """Tokens (estimated) in the first `blocks` blocks of a prompt."""
    return _TOKENS_BEFORE[blocks] if blocks < len(_TOKENS_BEFORE) else _TOKENS_BEFORE[-1]


def digest64(text: str) -> int:
    """An unkeyed 64-bit digest of `text`."""
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def _add_message(pieces: list[str], message: Message, odd: Pieces) -> None:
    pieces += ("\0", message.role, "\0")
    if message.name is not None:
        pieces += (message.name, "\0")
    content = message.content
    if isinstance(content, str):
        pieces.append(content)
    elif content is not None:
        pieces.append(_parts(content, odd))
    for call in message.tool_calls or ():
        if call.function is not None:
            pieces += ("\0c", call.function.name or "", "\0", call.function.arguments or "")


def _parts(parts: Sequence[Part], odd: Pieces) -> str:
    return "\n".join([part.text if part.text is not None else _other_part(part, odd) for part in parts])


def _other_part(part: Part, odd: Pieces) -> str:
    number = _counted(odd)
    for name in _MEDIA_FIELDS:
        value = getattr(part, name)
        if value is not None:
            return _media(value, number)
    return "".join((part.type, "\0", part.name or "", "\0", _any(part.content), "\0", _any(part.input)))


def _counted(odd: Pieces) -> int:
    number = next(odd)
    if number >= MOST_PIECES:
        raise TooManyPiecesError
    return number


def _media(value: Any, number: int) -> str:
    """A picture, a sound, a file, as characters made of its digest. Of long data only samples are read."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("url", "data", "file_data") if isinstance(value.get(key), str)), value)
    data = value if isinstance(value, str) else canonical(value)
    weight = min(_MEDIA_CHARS, _MEDIA_TIMES * len(data)) if number < _MEDIA_WEIGHED else _DIGEST_CHARS
    if len(data) > 3 * _MEDIA_SAMPLE:
        middle = len(data) // 2
        data = f"{len(data)}{data[:_MEDIA_SAMPLE]}{data[middle : middle + _MEDIA_SAMPLE]}{data[-_MEDIA_SAMPLE:]}"
    return f"{digest64(data):016x}" * (weight // _DIGEST_CHARS)


def _prompts(value: Any, odd: Pieces) -> str:
    """Prompts of completions, embeddings, responses, scores: text, token ids, lists of either, items."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return _any(value)
    if value and isinstance(value[0], int):
        return _token_ids(value)
    return "\0".join([item if isinstance(item, str) else _item(item, odd) for item in value])


def _item(item: Any, odd: Pieces) -> str:
    _counted(odd)
    if isinstance(item, list):
        return _token_ids(item)
    if isinstance(item, dict) and isinstance(item.get("role"), str):
        return f"{item['role']}\0{_content(item.get('content'), odd)}"
    return _any(item)


def _content(content: Any, odd: Pieces) -> str:
    if isinstance(content, list):
        return "\n".join([_content_part(part, odd) for part in content])
    return _any(content)


def _content_part(part: Any, odd: Pieces) -> str:
    number = _counted(odd)
    if isinstance(part, dict):
        if isinstance(part.get("text"), str):
            return str(part["text"])
        for name in _MEDIA_FIELDS:
            if part.get(name) is not None:
                return _media(part[name], number)
    return _any(part)


def _token_ids(ids: list[Any]) -> str:
    """Four characters for each token id, as four characters of text are counted as one token."""
    try:
        return array("I", ids).tobytes().decode("latin-1")
    except (TypeError, OverflowError):
        return canonical(ids)


def _any(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else canonical(value)


def _tools_text(raw: bytes) -> str:
    """Tools as text. The same few long lists come with every request of an agent: they are kept by their hash."""
    key = hash(raw)
    found = _tools.get(key)
    if found is None:
        found = canonical(msgspec.json.decode(raw))
        if len(_tools) >= _TOOLS_KEPT:
            del _tools[next(iter(_tools))]
        if len(raw) <= _TOOLS_MAX:
            _tools[key] = found
    return found
