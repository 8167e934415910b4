"""One request of a client as the picker sees it, out of its path and body; the first step of every decision.

Nothing here trusts the body: whatever is in it gives a Request or a BadRequestError.
"""

import msgspec

from manta_runtime.router.picker import bodies, forms, prompts

_INVALID_JSON = "invalid_json"
_INVALID_VALUE = "invalid_value"
_MOST_TOKENS = 1 << 31
_NO_SEED = -1
_MESSAGES = "/v1/messages"


class BadRequestError(ValueError):
    """The body cannot be what any engine accepts. `text` says why, `code` is OpenAI's error code."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class Request(msgspec.Struct, frozen=True, gc=False):
    """What a decision needs to know of a request.

    `wants_usage`: the client sees token counts in its stream (true wherever the API sends them anyway).
    `deterministic`: the client asked for it, by temperature 0 or a seed that engines heed.
    `max_tokens`: 0 if not given. `prompt_tokens`: an estimate, characters / 4.
    `blocks`: chained hashes of the prompt's blocks (`prompts.py`).
    `head`: text that is the same for all requests of a conversation (`prompts.head_of`).
    """

    path: str
    model: str | None = None
    stream: bool = False
    wants_usage: bool = True
    deterministic: bool = False
    max_tokens: int = 0
    prompt_tokens: int = 0
    blocks: tuple[int, ...] = ()
    session: str = ""
    head: str = ""


def parse(path: str, content_type: bytes, body: bytes, session: str = "", method: str = "POST") -> Request:
    """The request in `body`, which came to `path` (`/v1/…`). BadRequestError if it is not a JSON object.

    Of multipart forms (audio) only the model is read, if it can be.
    """
    if not body:
        if method == "POST" and not path.endswith("/cancel"):
            raise BadRequestError("the request has no body; send JSON", _INVALID_JSON)
        return Request(path, session=session)
    if content_type[:10].lower() == b"multipart/":
        return Request(path, forms.model_of(content_type, body), session=session)
    try:
        try:
            found = bodies.decode(body)
            text = prompts.text_of(found)
        except bodies.TooManyPiecesError:
            found, text = bodies.decode_options(body)
            text = f"{found.model or ''}\0{found.cache_salt or ''}\0{text}"
    except RecursionError:
        raise BadRequestError("the body is nested too deeply", _INVALID_JSON) from None
    except TypeError as error:
        raise BadRequestError(f"the body must be a JSON object with a model name: {error}", _INVALID_VALUE) from None
    except ValueError as error:
        raise BadRequestError(f"the body is not a JSON object: {error}", _INVALID_JSON) from None
    stream = bool(found.stream)
    return Request(
        path,
        found.model,
        stream,
        not stream or _wants_usage(path, found),
        found.temperature == 0 or (found.seed is not None and _is_seeded(path, found.seed)),
        max(0, min(_MOST_TOKENS, found.max_completion_tokens or found.max_tokens or found.max_output_tokens or 0)),
        -(-len(text) // prompts.CHARS_PER_TOKEN),
        prompts.blocks_of(text),
        session,
        prompts.head_of(found, text),
    )


def _is_seeded(path: str, seed: object) -> bool:
    """Whether the seed fixes the answer: vLLM takes -1 for none, and the messages API has none."""
    return type(seed) is int and seed != _NO_SEED and path != _MESSAGES


def _wants_usage(path: str, body: bodies.Body) -> bool:
    if not path.endswith("/completions"):
        return True
    return body.stream_options is not None and bool(body.stream_options.include_usage)
