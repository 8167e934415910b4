"""Which bodies the simulator takes: those vLLM takes; others are refused with its status, its form and its words."""

import pytest

from manta_runtime.simulator.forms import Refused
from manta_runtime.simulator.protocol import parse
from manta_runtime.simulator.settings import parse as parse_flags

SETTINGS = parse_flags(["--model=/m", "--served-model-name", "tiny", "alias", "--max-model-len=1024"], {})
MESSAGES = [{"role": "user", "content": "What is a manta ray?"}]


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        ({"model": "other"}, 404, "NotFoundError", "The model `other` does not exist. Valid aliases: tiny, alias."),
        ({"messages": None}, 400, "Bad Request", "'loc': 'body.messages', 'msg': 'Field required'"),
        ({"max_tokens": 0}, 400, "BadRequestError", "max_tokens must be at least 1, got 0."),
        ({"max_tokens": 3000}, 400, "BadRequestError", "max_tokens=3000 cannot be greater than max_model_len=1024."),
        ({"temperature": -1}, 400, "BadRequestError", "temperature must be non-negative, got -1.0."),
        ({"messages": 5}, 400, "Bad Request", "'loc': 'body.messages', 'msg': 'Input should be a valid list'"),
        ({"messages": [None]}, 400, "Bad Request", "'loc': 'body.messages.0', 'msg': 'Input should be a valid dict"),
        ({"messages": [{"content": 5}]}, 400, "Bad Request", "'loc': 'body.messages.0.content'"),
        ({"messages": [{"content": "\ud800"}]}, 400, "Bad Request", "unable to parse raw data as a unicode string"),
        ({"stream_options": "x"}, 400, "BadRequestError", "Stream options can only be defined when `stream=True`."),
        ({"stream": True, "stream_options": "x"}, 400, "Bad Request", "dictionary or instance of StreamOptions"),
        ({"stream": "x"}, 400, "Bad Request", "valid boolean, unable to interpret input"),
        ({"stop": 5}, 400, "Bad Request", "'loc': 'body.stop', 'msg': 'Input should be a valid string', 'input': '5'"),
        ({"stop": [5]}, 400, "Bad Request", "'loc': 'body.stop', 'msg': 'Input should be a valid string'"),
        ({"n": -1}, 400, "BadRequestError", "n must be at least 1, got -1."),
        ({"n": 0}, 400, "BadRequestError", "n must be at least 1, got 0."),
        ({"n": 10**9}, 400, "BadRequestError", "n must be at most 16384, got 1000000000."),
        ({"n": 1.5}, 400, "Bad Request", "got a number with a fractional part"),
        ({"n": "x"}, 400, "Bad Request", "unable to parse string as an integer"),
        ({"temperature": "x"}, 400, "Bad Request", "unable to parse string as a number"),
        ({"temperature": 3}, 400, "BadRequestError", "temperature must be in [0, 2], got 3.0."),
        ({"model": 5}, 400, "Bad Request", "'loc': 'body.model', 'msg': 'Input should be a valid string'"),
        ({"user": 5}, 400, "Bad Request", "'loc': 'body.user'"),
        ({"messages": [{"content": "a" * 9000}]}, 400, "BadRequestError", "maximum context length is 1024 tokens"),
    ],
)
def test_refusals_have_vllms_words(body, status, kind, words):
    with pytest.raises(Refused) as refused:
        parse({"model": "tiny", "messages": MESSAGES} | body, "chat", SETTINGS)
    error = refused.value.body["error"]
    assert (refused.value.status, error["type"], error["code"]) == (status, kind, status)
    assert words in error["message"]


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (5, "body.prompt"),
        ({}, "body.prompt"),
        ([None], "body.prompt.0"),
        ([1, "a"], "body.prompt.1"),
        ([[1], [None]], "body.prompt.1.0"),
        ([-1], "body.prompt.0"),
        (["\ud800"], "body.prompt"),
        (None, "prompt"),
        ([], "prompt"),
        ("", "prompt"),
    ],
)
def test_prompts_that_are_none(prompt, param):
    with pytest.raises(Refused) as refused:
        parse({"prompt": prompt}, "completion", SETTINGS)
    assert (refused.value.status, refused.value.body["error"]["param"]) == (400, param)


@pytest.mark.parametrize("prompt", ["a", ["a", "b"], [1, 2], [[1], [2, 3]], [True, "5"]])
def test_prompts_of_every_form(prompt):
    several = isinstance(prompt, list) and prompt[0] in ("a", [1])
    assert len(parse({"prompt": prompt}, "completion", SETTINGS).prompts) == (2 if several else 1)


def test_fields_are_read_as_laxly_as_vllm_reads_them():
    options = {"include_usage": "yes", "continuous_usage_stats": None}
    lax = {"n": "2", "max_tokens": 5.0, "stream": "true", "stop": "x", "temperature": "0.5", "stream_options": options}
    asked = parse({"prompt": "a"} | lax, "completion", SETTINGS)
    assert (asked.n, asked.max_tokens, asked.stream, asked.stop) == (2, 5, True, ("x",))
    assert (asked.usage, asked.continuous_usage, asked.model) == (True, False, "tiny")
