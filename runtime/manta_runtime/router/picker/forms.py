"""The `model` field of a multipart form (audio), found without reading the rest; for `request.py`.

A tenant may be bound to some models, so what is found here must be what the engine will find. Only forms as clients
write them are read: each part is headed as it should be, one alone is called `model`, nothing precedes or follows. Of
any other form nothing is said.
"""

import re

_TYPE = re.compile(rb'multipart/form-data;[ \t]*boundary=("?)([A-Za-z0-9_.=+-]{1,70})\1', re.IGNORECASE)
_DISPOSITION = re.compile(
    rb'content-disposition:[ \t]*form-data;[ \t]*name="([^"\\;\r\n]*)"((?:;[ \t]*filename\*?=[^;\r\n]*)*)',
    re.IGNORECASE,
)
_HEADER = re.compile(rb"(?!content-disposition|content-transfer-encoding)[a-z0-9-]+:[^\r\n]*", re.IGNORECASE)
_MOST_PARTS = 64
_HEAD_BYTES = 4096
_MODEL_BYTES = 1024
_FIELD = b"model"


def model_of(content_type: bytes, body: bytes) -> str | None:
    """What the form's field `model` says; None if it has none, or is not a form that can be read in one way only."""
    kind = _TYPE.fullmatch(content_type.strip())
    if kind is None or not body.startswith(line := b"--" + kind[2]):
        return None
    found: str | None = None
    at = len(line)
    for _ in range(_MOST_PARTS):
        if body.startswith(b"--", at):
            return found if body.endswith((line + b"--", line + b"--\r\n")) and len(body) - at <= 4 else None
        begin = body.find(b"\r\n\r\n", at, at + _HEAD_BYTES) + 4
        name = _name(body[at : begin - 4]) if begin > 4 else None
        end = body.find(b"\r\n" + line, begin)
        if name is None or end < 0 or body.startswith(line, begin):
            return None
        if name == _FIELD:
            if found is not None or end - begin > _MODEL_BYTES:
                return None
            try:
                found = body[begin:end].decode()
            except UnicodeDecodeError:
                return None
        at = end + 2 + len(line)
    return None


def _name(head: bytes) -> bytes | None:
    """The name of a part that is headed by `head`; None if that could be read in more than one way."""
    first, *lines = head.split(b"\r\n")
    dispositions = [found for each in lines if (found := _DISPOSITION.fullmatch(each))]
    others = sum(1 for each in lines if _HEADER.fullmatch(each))
    if first or len(dispositions) != 1 or 1 + others != len(lines):
        return None
    name, file = dispositions[0].groups()
    return None if name == _FIELD and file else name
