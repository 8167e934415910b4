"""Which answers are complete, and what of a stream is kept for a client that did not ask for usage."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manta_runtime.router.cache.copies import Copy, is_whole
from manta_runtime.router.cache.sse import hide_usage
from manta_runtime.router.cache.store import Store

SSE = "text/event-stream; charset=utf-8"
CHAT, TEXT, RESPONSES, MESSAGES = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
)
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2}


def data(**fields):
    return f"data: {json.dumps(fields, separators=(',', ':'))}\n\n".encode()


def event(name, **fields):
    return f"event: {name}\n".encode() + data(type=name, **fields)


WORD = data(choices=[{"delta": {"content": 'He said "finish_reason":"abort" and {"error": 1}\n\ndata: [DONE]\n\n'}}])
LAST = data(choices=[{"delta": {"content": ""}, "finish_reason": "stop"}])
STOP = event("message_delta", delta={"stop_reason": "end_turn"}) + event("message_stop")


def kept(path, body, kind=SSE, hide=False, cuts=()):
    """What is kept of `body` when it comes in pieces cut at `cuts`."""
    store = Store(1 << 20, 50)
    copy = Copy(store, path, kind, hide_usage=hide)
    for begin, end in zip((0, *cuts), (*cuts, len(body)), strict=True):
        copy.add(body[begin:end])
    found = copy.result()
    copy.close()
    assert store.size == 0
    return found


@pytest.mark.parametrize(
    ("path", "body", "complete"),
    [
        pytest.param(CHAT, WORD + LAST + DONE, True, id="chat"),
        pytest.param(TEXT, WORD + LAST + DONE, True, id="completion"),
        pytest.param(CHAT, WORD + LAST, False, id="without its end"),
        pytest.param(CHAT, b"", False, id="nothing"),
        pytest.param(CHAT, WORD + LAST + DONE[:-1], False, id="cut within the end"),
        pytest.param(CHAT, WORD + LAST + DONE + b"data", False, id="something after the end"),
        pytest.param(CHAT, WORD + DONE + LAST + DONE, False, id="two ends"),
        pytest.param(CHAT, WORD + data(error={"message": "no"}) + DONE, False, id="a failure, then the end"),
        pytest.param(CHAT, WORD + LAST.replace(b'"stop"', b'"abort"') + DONE, False, id="aborted"),
        pytest.param(RESPONSES, event("response.created") + event("response.completed"), True, id="response"),
        pytest.param(RESPONSES, event("response.created") + event("response.failed"), False, id="failed"),
        pytest.param(RESPONSES, event("response.created") + event("response.incomplete"), False, id="incomplete"),
        pytest.param(RESPONSES, event("response.completed", response={"status": "cancelled"}), False, id="cancelled"),
        pytest.param(RESPONSES, event("response.completed", response={"status": "incomplete"}), True, id="cut short"),
        pytest.param(RESPONSES, event("error") + event("response.completed"), False, id="error in between"),
        pytest.param(RESPONSES, WORD + DONE, False, id="another API's end"),
        pytest.param(MESSAGES, event("message_start", message={"stop_reason": None}) + STOP, True, id="message"),
        pytest.param(MESSAGES, event("message_start") + event("error"), False, id="message with an error"),
        pytest.param(MESSAGES, STOP.replace(b'"end_turn"', b"null"), False, id="message that was aborted"),
    ],
)
def test_only_complete_streams_are_kept(path, body, complete):
    assert kept(path, body) == (body if complete else None)


@pytest.mark.parametrize(
    ("path", "fields", "complete"),
    [
        (CHAT, {"choices": [{"finish_reason": "stop"}]}, True),
        (CHAT, {"choices": [{"finish_reason": "tool_calls"}, {"finish_reason": "length"}]}, True),
        (CHAT, {"choices": [{"finish_reason": "stop"}, {"finish_reason": "abort"}]}, False),
        (CHAT, {"choices": [{"finish_reason": None}]}, False),
        (CHAT, {"choices": []}, False),
        (CHAT, {"error": {"message": "no"}, "choices": [{"finish_reason": "stop"}]}, False),
        (CHAT, {}, False),
        (RESPONSES, {"status": "completed", "error": None}, True),
        (RESPONSES, {"status": "in_progress"}, False),
        (RESPONSES, {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, False),
        (RESPONSES, {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, True),
        (MESSAGES, {"type": "message", "stop_reason": "end_turn"}, True),
        (MESSAGES, {"type": "message", "stop_reason": None}, False),
        (MESSAGES, {"type": "error", "error": {"type": "x"}}, False),
    ],
)
def test_only_complete_answers_are_kept(path, fields, complete):
    body = json.dumps(fields).encode()
    assert is_whole(path, body) is complete
    assert kept(path, body, "application/json") == (body if complete else None)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"choices":[{"finish_reason":"stop"}', b"\xff"])
def test_what_is_no_json_object_is_not_kept(body):
    assert kept(CHAT, body, "application/json") is None


def test_other_kinds_of_answers_are_not_kept():
    assert kept(CHAT, WORD + DONE, "text/plain") is None


SECRET = data(choices=[{"index": 0, "delta": {"content": 'a","usage":{"b":1}'}, "finish_reason": None}])


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        pytest.param(WORD, WORD, id="no usage"),
        pytest.param(data(choices=[], usage=USAGE), b"", id="the chunk that is only usage"),
        pytest.param(data(id="x", choices=[], usage=USAGE, system_fingerprint="y"), b"", id="with a fingerprint"),
        pytest.param(
            data(choices=[{"index": 0}], usage=USAGE | {"completion_tokens_details": None}),
            data(choices=[{"index": 0}]),
            id="usage in every chunk",
        ),
        pytest.param(
            data(choices=[{"index": 0}], usage=USAGE | {"completion_tokens_details": {"reasoning_tokens": 1}}, z=1),
            data(choices=[{"index": 0}], z=1),
            id="with details, and not last",
        ),
        pytest.param(SECRET, SECRET, id="a model's words"),
        pytest.param(DONE, DONE, id="the end"),
    ],
)
def test_usage_is_hidden(sent, left):
    assert hide_usage(sent) == left


ONLY_USAGE = data(choices=[], usage=USAGE)
STREAM = WORD + data(choices=[{"index": 0}], usage=USAGE) + LAST + ONLY_USAGE + DONE


@given(st.sets(st.integers(1, len(STREAM) - 1)).map(sorted))
def test_however_a_stream_is_cut_the_same_is_kept(cuts):
    assert kept(CHAT, STREAM, cuts=cuts) == STREAM
    assert kept(CHAT, STREAM, hide=True, cuts=cuts) == STREAM.replace(ONLY_USAGE, b"")


def test_one_large_event_needs_no_more_room_than_many_small_ones():
    event = data(text="w" * 100_000)
    body = event + DONE
    for step in (1000, 50_000, len(body)):
        assert kept(CHAT, body, cuts=range(step, len(body), step)) == body


@pytest.mark.parametrize("stream", [[b"data: %d\n\n" % number for number in range(9000)], [b"x" * 4000] * 9])
def test_a_copy_that_grows_too_large_is_given_up_at_once(stream):
    store = Store(1 << 17, 50)
    copy = Copy(store, CHAT, SSE, hide_usage=False)
    for piece in stream:
        copy.add(piece)
    assert (store.size, copy.result()) == (0, None)
    copy.add(DONE)
    assert copy.result() is None
