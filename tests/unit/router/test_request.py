"""What the picker reads out of a client's body: every family of the API, and everything that is hostile."""

import contextlib
import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manta_runtime.router.picker.request import BadRequestError, Request, parse

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
JSON = b"application/json"


def read(body, path=CHAT, **more):
    return parse(path, JSON, body if isinstance(body, bytes) else json.dumps(body).encode(), **more)


def chat(**more):
    return {"model": "m", "messages": [{"role": "user", "content": "x" * 2000}]} | more


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(CHAT, chat(), id="chat"),
        pytest.param(COMPLETIONS, {"prompt": "x" * 2000}, id="completion"),
        pytest.param(COMPLETIONS, {"prompt": ["x" * 1500, "y" * 600]}, id="completion of several prompts"),
        pytest.param(COMPLETIONS, {"prompt": list(range(500))}, id="completion of token ids"),
        pytest.param(COMPLETIONS, {"prompt": [list(range(300)), list(range(300))]}, id="several lists of token ids"),
        pytest.param("/v1/embeddings", {"input": "x" * 2000}, id="embedding"),
        pytest.param("/v1/embeddings", {"input": ["x" * 1500, "y" * 600]}, id="embeddings"),
        pytest.param("/v1/responses", {"input": "x" * 1000, "instructions": "y" * 1000}, id="response"),
        pytest.param("/v1/responses", {"input": [{"role": "user", "content": "x" * 2000}]}, id="response to messages"),
        pytest.param(
            "/v1/responses",
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x" * 2000}]}]},
            id="response to parts",
        ),
        pytest.param("/v1/messages", chat(system="y" * 100), id="message"),
        pytest.param("/v1/messages", chat(system=[{"type": "text", "text": "y"}]), id="message, system in parts"),
        pytest.param("/v1/rerank", {"query": "x" * 1000, "documents": ["d" * 1000, {"text": "e"}]}, id="rerank"),
        pytest.param("/v1/score", {"text_1": "x" * 1000, "text_2": ["y" * 1000]}, id="score"),
        pytest.param("/v1/score", {"data_1": "x" * 1000, "data_2": "y" * 1000}, id="score, data"),
    ],
)
def test_every_family_has_a_prompt(path, body):
    request = read({"model": "m"} | body, path)
    assert request.path == path
    assert request.model == "m"
    assert 480 <= request.prompt_tokens <= 620
    assert len(request.blocks) >= 5


def test_token_ids_count_one_token_each():
    assert read({"model": "", "prompt": [7] * 1000}, COMPLETIONS).prompt_tokens == pytest.approx(1000, abs=2)


@pytest.mark.parametrize(
    ("path", "body", "shown"),
    [
        pytest.param(CHAT, {"stream": True}, False, id="a stream that did not ask"),
        pytest.param(CHAT, {"stream": True, "stream_options": None}, False, id="null options"),
        pytest.param(CHAT, {"stream": True, "stream_options": {"include_usage": False}}, False, id="asked not to"),
        pytest.param(CHAT, {"stream": True, "stream_options": {"include_usage": True}}, True, id="asked to"),
        pytest.param(CHAT, {"stream": False}, True, id="no stream: always in it"),
        pytest.param(COMPLETIONS, {"stream": True}, False, id="completions"),
        pytest.param("/v1/responses", {"stream": True}, True, id="responses: always in it"),
        pytest.param("/v1/messages", {"stream": True}, True, id="messages: always in it"),
    ],
)
def test_wants_usage(path, body, shown):
    assert read(body, path).wants_usage is shown


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({}, {"stream": False, "deterministic": False, "max_tokens": 0}, id="nothing said"),
        pytest.param({"temperature": 0}, {"deterministic": True}, id="temperature 0"),
        pytest.param({"temperature": 0.0}, {"deterministic": True}, id="temperature 0.0"),
        pytest.param({"temperature": 0.7}, {"deterministic": False}, id="temperature 0.7"),
        pytest.param({"temperature": 1, "seed": 3}, {"deterministic": True}, id="seed"),
        pytest.param({"seed": 0}, {"deterministic": True}, id="seed 0"),
        pytest.param({"seed": None, "temperature": None}, {"deterministic": False}, id="nulls"),
        pytest.param({"seed": -1}, {"deterministic": False}, id="vLLM's word for no seed"),
        pytest.param({"seed": "3"}, {"deterministic": False}, id="a seed that may be none"),
        pytest.param({"seed": True}, {"deterministic": False}, id="no seed either"),
        pytest.param({"seed": -1, "temperature": 0}, {"deterministic": True}, id="temperature 0 without a seed"),
        pytest.param({"max_tokens": 7}, {"max_tokens": 7}, id="max_tokens"),
        pytest.param({"max_completion_tokens": 9}, {"max_tokens": 9}, id="max_completion_tokens"),
        pytest.param({"max_output_tokens": 8}, {"max_tokens": 8}, id="max_output_tokens"),
        pytest.param({"stream": "true", "max_tokens": "5"}, {"stream": True, "max_tokens": 5}, id="as text"),
        pytest.param({"stream": 1, "max_tokens": 5.0}, {"stream": True, "max_tokens": 5}, id="as other numbers"),
        pytest.param({"temperature": "hot", "max_tokens": {}}, {"max_tokens": 0}, id="nonsense is the engine's"),
        pytest.param({"max_tokens": 10**30}, {"max_tokens": 1 << 31}, id="a huge number"),
        pytest.param({"max_tokens": -5}, {"max_tokens": 0}, id="a negative number"),
    ],
)
def test_options(body, expected):
    request = read(chat(**body))
    assert {name: getattr(request, name) for name in expected} == expected
    assert request.blocks == read(chat()).blocks


@pytest.mark.parametrize(
    ("path", "body", "deterministic"),
    [
        (COMPLETIONS, {"seed": 3}, True),
        ("/v1/responses", {"seed": 3}, True),
        ("/v1/messages", {"seed": 3}, False),
        ("/v1/messages", {"seed": 3, "temperature": 0}, True),
    ],
)
def test_a_seed_counts_where_the_api_has_one(path, body, deterministic):
    assert read(body, path).deterministic is deterministic


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"", "invalid_json", id="no body"),
        pytest.param(b"{", "invalid_json", id="cut off"),
        pytest.param(b"[]", "invalid_json", id="no object"),
        pytest.param(b'"model"', "invalid_json", id="text"),
        pytest.param(b"{} {}", "invalid_json", id="two objects"),
        pytest.param(b'\xef\xbb\xbf{"model":"m"}', "invalid_json", id="byte order mark"),
        pytest.param('{"model":"m"}'.encode("utf-16"), "invalid_json", id="UTF-16"),
        pytest.param(b'{"model":"\xff"}', "invalid_json", id="not UTF-8"),
        pytest.param(b'{"temperature":NaN}', "invalid_json", id="NaN"),
        pytest.param(b'{"temperature":1e999}', "invalid_json", id="beyond doubles"),
        pytest.param(b'{"seed":' + b"9" * 5000 + b"}", "invalid_json", id="5,000 digits"),
        pytest.param(b'{"model":5}', "invalid_value", id="model is a number"),
        pytest.param(b'{"model":["m"]}', "invalid_value", id="model is a list"),
        pytest.param(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json", id="deep, not read"),
        pytest.param(b'{"input":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json", id="deep, read"),
        pytest.param(b'{"tools":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}", "invalid_json", id="deep tools"),
    ],
)
def test_hostile_bodies_are_refused(body, code):
    with pytest.raises(BadRequestError) as caught:
        read(body)
    assert caught.value.code == code
    assert caught.value.text


MIB = 1 << 20


def repeated(start, piece, end, size=4 * MIB):
    return b'{"model":"m","temperature":0,"stream":"true",' + start + piece * (size // len(piece)) + end


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((b'"messages":[', b"1,", b"1]}"), id="messages of numbers"),
        pytest.param((b'"messages":[', b"{},", b"{}]}"), id="empty messages"),
        pytest.param((b'"messages":[{"content":[', b'{"file":1},', b"{}]}]}"), id="files of nothing"),
        pytest.param((b'"messages":[{"content":[', b'{"file":1},', b"{}]}]}", MIB // 8), id="fewer files"),
        pytest.param((b'"messages":[{"content":[', b"1,", b"1]}]}"), id="parts of numbers"),
        pytest.param((b'"messages":[{"tool_calls":[', b"{},", b"{}]}]}"), id="calls"),
        pytest.param((b'"input":[', b"1,", b"[]]}"), id="numbers for prompts"),
        pytest.param((b'"input":[', b"[],", b"[]]}"), id="empty prompts"),
        pytest.param((b'"input":[', b'"a",', b'"a"]}'), id="short prompts"),
        pytest.param((b'"documents":[', b'{"a":{"b":0}},', b"0]}"), id="documents"),
        pytest.param((b'"query":', b"[" * 500 + b"]" * 500 + b',"x":', b"0}"), id="nested"),
        pytest.param((b'"tools":[', b"{},", b"{}]}"), id="tools"),
        pytest.param((b'"system":[', b"1,", b"1]}"), id="system of numbers"),
        pytest.param((b'"seed":[', b"[],", b"[]]}"), id="no seed"),
        pytest.param((b'"x":0', b',"y":0', b"}"), id="nothing we know"),
    ],
)
def test_no_body_takes_long_or_counts_for_more_than_it_is(parts):
    """Unbounded, each of these took from half a second to four, and up to a gigabyte."""
    body = repeated(*parts)
    began = time.process_time()
    request = read(body)
    assert time.process_time() - began < 0.4
    assert request.prompt_tokens <= len(body)
    assert (request.model, request.stream, request.deterministic) == ("m", True, True)


def test_a_prompt_of_too_many_pieces_goes_by_its_json():
    """Blocks as ever: the next turn begins with this one, another model's does not."""
    many = [{"role": "user", "content": f"{number}"} for number in range(5000)]
    first, more = read({"model": "m", "messages": many}), read({"model": "m", "messages": [*many, *many]})
    other = read({"model": "n", "messages": many})
    assert 90 < len(first.blocks) < len(more.blocks)
    assert first.blocks == more.blocks[: len(first.blocks)]
    assert first.blocks[0] != other.blocks[0]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"messages": "no list"}, id="messages is text"),
        pytest.param({"messages": [1, None, "x", {"role": 5}, {"content": 7}]}, id="messages of anything"),
        pytest.param({"messages": [{"role": "user", "content": [1, {"type": 3}]}]}, id="parts of anything"),
        pytest.param({"messages": [{"role": "user", "content": ["text"]}]}, id="parts as text"),
        pytest.param({"prompt": [1, -2, 2**70]}, id="token ids out of range"),
        pytest.param({"prompt": [[1, "x"], {"y": None}, 5]}, id="prompts of anything"),
        pytest.param({"prompt": {"a": 1}, "input": 5}, id="prompts of the wrong type"),
        pytest.param({"tools": 5, "system": 7, "stream_options": "x", "cache_salt": 1}, id="everything wrong"),
        pytest.param({"documents": {"content": []}, "query": None, "text_2": [[[]]]}, id="rerank of anything"),
    ],
)
def test_what_only_the_engine_can_judge_goes_on(body):
    assert read({"model": "m"} | body).model == "m"


def test_the_last_of_duplicate_keys_counts():
    """As in Python's json, which vLLM uses: what we authorize is what the engine serves."""
    assert read(b'{"model":"a","model":"b","stream":true,"stream":false}') == read(b'{"stream":false,"model":"b"}')


def test_forms_are_left_to_the_engine():
    request = parse("/v1/audio/transcriptions", b"Multipart/form-data; boundary=x", b"--x\r\n", "s")
    assert request == Request("/v1/audio/transcriptions", session="s")


@pytest.mark.parametrize(("path", "method"), [("/v1/models", "GET"), ("/v1/responses/r1/cancel", "POST")])
def test_no_body_where_none_is_due(path, method):
    assert parse(path, b"", b"", method=method) == Request(path)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["role", "content", "text", "type", "image_url", "url", "name"]), inner)
    ),
    max_leaves=12,
)
FIELDS = ["model", "messages", "prompt", "input", "tools", "system", "instructions", "stream", "stream_options"]


@given(st.dictionaries(st.sampled_from([*FIELDS, "seed", "temperature", "max_tokens", "documents", "query"]), ANY))
def test_any_object_is_read_or_refused(fields):
    body = msgspec.json.encode(fields)
    with contextlib.suppress(BadRequestError):
        assert read(body).model == fields.get("model")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body):
    with contextlib.suppress(BadRequestError):
        parse(CHAT, JSON, body)


@pytest.mark.parametrize("text", [r"hi \ud83d", r"\ude00 hi", r"\ud83d\u0041", r"\ud83d\ud83d\ude00", r"\\\ud83d"])
def test_half_an_emoji_is_for_the_engine_to_judge(text):
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"%s"}]}' % text.encode()
    assert (read(body).model, read(body).stream) == ("m", True)
    whole = body.replace(text.encode(), rb"\\ud83d \ud83d\ude00")
    assert read(whole) == read(json.dumps(json.loads(whole)).encode())
    with pytest.raises(BadRequestError):
        read(body[:-1])
