"""Prompts as blocks: what must be equal for the cache of an engine to help, and what must not."""

import json

import pytest

from manta_runtime.router.picker.prompts import CHARS_BEFORE, SCHEDULE, blocks_of, cached_tokens, digest64
from manta_runtime.router.picker.request import parse

SYSTEM = {"role": "system", "content": "You are an assistant of few words. " * 100}
ASKED = {"role": "user", "content": "How far is it to the moon? " * 60}
ANSWERED = {"role": "assistant", "content": "384,400 km. " * 80}
ASKED_MORE = {"role": "user", "content": "And to the sun? " * 80}
TOOLS = [
    {"type": "function", "function": {"name": "look_up", "description": "d" * 600, "parameters": {"a": 1, "b": 2}}}
]


def parsed(*messages, separators=(",", ":"), **more):
    body = json.dumps({"model": "m", "messages": list(messages)} | more, separators=separators)
    return parse("/v1/chat/completions", b"", body.encode())


def blocks(*messages, **more):
    return parsed(*messages, **more).blocks


def shared(one, other):
    """Equal leading blocks; and no equal ones behind."""
    count = next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    if count is None:
        return min(len(one), len(other))
    assert set(one[count:]).isdisjoint(other[count:])
    return count


def test_a_conversation_begins_with_its_earlier_turns():
    first, second = blocks(SYSTEM, ASKED), blocks(SYSTEM, ASKED, ANSWERED, ASKED_MORE)
    assert shared(first, second) == len(first) < len(second)


def test_a_system_prompt_is_shared():
    one, other = blocks(SYSTEM, ASKED), blocks(SYSTEM, ASKED_MORE)
    assert CHARS_BEFORE[shared(one, other)] > len(SYSTEM["content"]) - SCHEDULE[1][0]


def upside_down(message):
    return dict(reversed(message.items()))


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(blocks(SYSTEM, ASKED, tools=TOOLS, separators=(", ", ": ")), id="white space"),
        pytest.param(blocks(upside_down(SYSTEM), upside_down(ASKED), tools=TOOLS), id="order of keys"),
        pytest.param(blocks(SYSTEM, ASKED, tools=[upside_down(TOOLS[0])]), id="order of keys in tools"),
        pytest.param(blocks(SYSTEM, ASKED, tools=TOOLS, temperature=0, max_tokens=5, user="me"), id="other options"),
        pytest.param(blocks(SYSTEM, ASKED, tools=TOOLS, stream="true"), id="read leniently"),
        pytest.param(
            blocks(SYSTEM, {"role": "user", "content": [{"type": "text", "text": ASKED["content"]}]}, tools=TOOLS),
            id="content in parts",
        ),
    ],
)
def test_the_same_prompt_however_it_is_written(same):
    assert same == blocks(SYSTEM, ASKED, tools=TOOLS)


def picture(url):
    return {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}],
    }


def call(arguments):
    function = {"name": "look_up", "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}


LONG = "data:image/png;base64," + "A" * 50_000


@pytest.mark.parametrize(
    ("one", "other", "from_start"),
    [
        pytest.param(blocks(SYSTEM, model="a"), blocks(SYSTEM, model="b"), True, id="model (an adapter's cache)"),
        pytest.param(blocks(SYSTEM, cache_salt="a"), blocks(SYSTEM, cache_salt="b"), True, id="cache salt"),
        pytest.param(blocks(SYSTEM, tools=TOOLS), blocks(SYSTEM), True, id="tools come first"),
        pytest.param(blocks(picture("http://a"), ASKED), blocks(picture("http://b"), ASKED), True, id="picture by URL"),
        pytest.param(blocks(picture(LONG), ASKED), blocks(picture(LONG + "B"), ASKED), True, id="picture by data"),
        pytest.param(blocks(SYSTEM, call("1"), ASKED), blocks(SYSTEM, call("2"), ASKED), False, id="tool calls"),
        pytest.param(blocks(SYSTEM, ASKED | {"name": "a"}), blocks(SYSTEM, ASKED | {"name": "b"}), False, id="names"),
        pytest.param(
            blocks({"role": "system", "content": "x" * 2000}),
            blocks({"role": "user", "content": "x" * 2000}),
            True,
            id="roles",
        ),
    ],
)
def test_what_makes_prompts_different(one, other, from_start):
    assert (shared(one, other) == 0) is from_start
    assert one != other


def test_a_picture_weighs_tokens_not_bytes():
    body = json.dumps({"messages": [picture("data:image/png;base64," + "A" * 4_000_000)]}).encode()
    assert 500 < parse("/v1/chat/completions", b"", body).prompt_tokens < 600


@pytest.mark.parametrize(
    ("pictures", "tokens"),
    [
        pytest.param(1, 512, id="one"),
        pytest.param(128, 128 * 512, id="as many as weigh"),
        pytest.param(500, 128 * 512 + 372 * 4, id="the others are only told apart"),
    ],
)
def test_pictures_weigh_within_reason(pictures, tokens):
    url = "data:image/png;base64," + "A" * 100
    first, *others = [picture(f"{url}{number}") for number in range(pictures)]
    assert tokens <= parsed(first, *others).prompt_tokens <= tokens * 1.05 + 10
    rest = [ASKED] * 4
    assert parsed(first, *others, *rest).blocks != parsed(first, *others[:-1], picture(url), *rest).blocks
    assert parsed(picture("http://short")).prompt_tokens < 120


def test_blocks_grow_and_end():
    assert [len(blocks_of("x" * length)) for length in (0, 255, 256, 1023, 1024, 1536)] == [0, 0, 1, 3, 4, 5]
    assert len(blocks_of("x" * 10_000_000)) == len(CHARS_BEFORE) - 1 < 600
    assert CHARS_BEFORE[-1] == SCHEDULE[-1][1]
    assert cached_tokens(10_000) == cached_tokens(len(CHARS_BEFORE) - 1) == CHARS_BEFORE[-1] // 4


def test_text_beyond_ascii_has_the_same_blocks_as_alone():
    """Python stores text as wide as its widest character; equal parts hash alike all the same."""
    plain = "a" * 3000
    assert blocks_of(plain + "🦈" * 600)[: len(blocks_of(plain))] == blocks_of(plain)


def test_digests_are_the_same_in_every_process():
    assert digest64("system") == 0x48F0B272EF99CA9
