"""Errors as OpenAI's clients read them: one shape for what the picker refuses and for what Envoy answers by itself."""

import json
from typing import Any


def error(message: str, *, kind: str, code: str, param: str | None = None) -> dict[str, Any]:
    """The body of an error: `kind` is OpenAI's `type`, `code` one word programs can test."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def body(message: str, *, kind: str, code: str, param: str | None = None) -> bytes:
    """The same as JSON bytes."""
    return json.dumps(error(message, kind=kind, code=code, param=param)).encode()
