"""Bodies of requests: JSON, YAML, and the JSON that clients send as YAML."""

from types import SimpleNamespace

import pytest

from manta_operator.box.apiserver.requests import body_of
from manta_operator.box.cluster import ApiError

APPLY = "application/apply-patch+yaml"


async def read(text, kind):
    async def whole():
        return text.encode()

    return await body_of(SimpleNamespace(read=whole, content_type=kind))


@pytest.mark.parametrize(
    ("text", "kind", "body"),
    [
        ("", APPLY, None),
        ('{"a": [1, "2026-11-21", "\\u00e9"]}', APPLY, {"a": [1, "2026-11-21", "é"]}),
        ('{"a": 1}', "application/json", {"a": 1}),
        ("{a: 1, b: yes}", APPLY, {"a": 1, "b": True}),
        ("a: 1\n", APPLY, {"a": 1}),
    ],
)
async def test_what_is_read(text, kind, body):
    assert await read(text, kind) == body


@pytest.mark.parametrize(("kind", "name"), [(APPLY, "YAML"), ("application/json", "JSON")])
async def test_what_cannot_be_read_is_named(kind, name):
    with pytest.raises(ApiError, match=f"the body is not {name}: ") as refused:
        await read('{"a": [', kind)
    assert refused.value.code == 400
