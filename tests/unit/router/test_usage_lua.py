"""usage.lua as Envoy runs it (LuaJIT), with stand-ins for Envoy's handle: streams' tokens counted, one event hidden."""

import json
import time
from pathlib import Path

import pytest
from lupa import luajit21

from manta_runtime.router import usage

USAGE = (
    '"usage":{"prompt_tokens":12,"total_tokens":19,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":4}}'
)
LAST = 'data: {"id":"c","choices":[],' + USAGE + "}\n\n"
EVENTS = [
    'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
    'data: {"id":"c","choices":[{"index":0,"delta":{"content":"\\"usage\\":{ \\"choices\\":[] é"}}]}\n\n',
    ": a comment\n\n",
]
DONE = "data: [DONE]\n\n"
COUNTS = {"prompt_tokens": 12, "completion_tokens": 7, "cached_tokens": 4}


class Body:
    def __init__(self, content):
        self.content, self.touched = content, False

    def length(self):
        return len(self.content)

    def getBytes(self, start, size):  # noqa: N802 - Envoy's name
        assert start >= 0
        assert start + size <= len(self.content)
        return self.content[start : start + size]

    def setBytes(self, content):  # noqa: N802 - as above
        self.content, self.touched = content, True


@pytest.fixture(scope="module")
def lua():
    runtime = luajit21.LuaRuntime(encoding=None)
    runtime.execute(b"EnvoyTimestampResolution = { MILLISECOND = 0 }")
    runtime.execute(
        usage.build()[0]["typed_config"]["extension_config"]["typed_config"]["default_source_code"][
            "inline_string"
        ].encode()
    )
    make = b"""function(kind, said, bodies, body, now, set)
        local metadata = { get = function() return said end,
                           set = function(_, space, key, value) set(space, key, value) end }
        return { headers = function() return { get = function() return kind end } end,
                 streamInfo = function() return { dynamicMetadata = function() return metadata end } end,
                 body = function() return body end,
                 timestamp = function() return now() end,
                 bodyChunks = function() return bodies end } end"""
    return runtime, runtime.eval(make)


def handle(lua, kind=b"text/event-stream; charset=utf-8", hide=False, bodies=(), body=None):
    runtime, make = lua
    noted, clock = {}, iter(range(1000, 10_000_000, 5))
    said = runtime.table_from({b"x-manta-usage": b"hide"}) if hide else None

    def set_(space, key, value):
        assert space == b"manta"
        assert noted.get(key.decode()) != value
        noted[key.decode()] = value

    rest = iter(bodies)
    return make(kind, said, lambda *_: next(rest, None), body, lambda: next(clock), set_), noted


def answered(lua, *chunks, hide=False, kind=b"text/event-stream; charset=utf-8"):
    """What the client gets of an answer that comes in these chunks, and what was counted."""
    bodies = [Body(chunk) for chunk in (*chunks, b"")]  # an empty one ends Envoy's
    envoy, noted = handle(lua, kind, hide, bodies)
    lua[0].globals()[b"envoy_on_response"](envoy)
    return b"".join(body.content for body in bodies), noted, bodies


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("hide", [False, True], ids=["asked for", "hidden"])
def test_wherever_a_stream_is_cut_the_client_gets_the_same_bytes(lua, hide, newline):
    sent = "".join([*EVENTS, LAST, DONE]).replace("\n", newline).encode()
    wanted = "".join([*EVENTS, *([] if hide else [LAST]), DONE]).replace("\n", newline).encode()
    for cut in range(1, len(sent)):
        got, noted, _ = answered(lua, sent[:cut], sent[cut:], hide=hide)
        assert got == wanted, f"cut at {cut}: {sent[cut - 10 : cut]} | {sent[cut : cut + 10]}"
        assert COUNTS.items() <= noted.items(), f"cut at {cut}"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_small_pieces_too(lua, size):
    sent = "".join([*EVENTS, LAST, DONE]).encode()
    pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
    got, noted, _ = answered(lua, *pieces, hide=True)
    assert got == "".join([*EVENTS, DONE]).encode()
    assert COUNTS.items() <= noted.items()


def test_usual_chunks_pass_untouched_and_at_once(lua):
    _, noted, bodies = answered(lua, *(event.encode() for event in [*EVENTS, LAST, DONE]), hide=True)
    assert [body.touched for body in bodies] == [False, False, False, True, False, False]
    assert bodies[3].content == b""
    assert (noted["events"], noted["first_data_ms"]) == (4, 5)


def test_an_event_that_cannot_be_usage_is_not_held_back(lua):
    _, _, bodies = answered(lua, EVENTS[0].encode()[:60], EVENTS[0].encode()[60:], hide=True)
    assert bodies[0].content == EVENTS[0].encode()[:60]


def test_what_ends_without_a_blank_line_still_ends(lua):
    sent = (EVENTS[0] + DONE).encode().rstrip()
    assert answered(lua, sent, hide=True)[0] == sent
    assert answered(lua, sent[:-3], sent[-3:], hide=True)[0] == sent


def test_long_events_are_not_held_for_ever(lua):
    long = b'data: {"error": "' + b"x" * 200_000 + b'"}\n\n'
    pieces = [long[at : at + 16384] for at in range(0, len(long), 16384)]
    got, noted, bodies = answered(lua, *pieces, LAST.encode(), DONE.encode(), hide=True)
    assert got == long + DONE.encode()
    assert bodies[3].content.startswith(b"data: {")
    assert noted["completion_tokens"] == 7


def test_long_lines_cost_their_length_only(lua):
    event = b"data: " + b"x" * 500_000 + b"\n\n"
    began = time.process_time()
    answered(lua, event[:-9] + event + event[:250_000], event[250_000:], hide=True)
    assert time.process_time() - began < 0.5


def test_what_is_known_of_a_stream_that_breaks_off(lua):
    def broken():
        yield from (Body(EVENTS[0].encode()) for _ in range(40))
        raise ConnectionError

    envoy, noted = handle(lua, bodies=broken())
    with pytest.raises(ConnectionError):
        lua[0].globals()[b"envoy_on_response"](envoy)
    assert noted["events"] == 32


@pytest.mark.parametrize(
    ("document", "counts"),
    [
        (json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}), (3, 5, None)),
        ('{"usage":{"prompt_tokens":3,"total_tokens":3}}', (3, None, None)),  # embeddings
        (
            '{"output":[],"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":8},"output_tokens":2}}',
            (9, 2, 8),
        ),
        # messages: what was cached, or came to be, is counted beside the input
        ('{"usage":{"input_tokens":9,"output_tokens":2,"cache_read_input_tokens":1}}', (10, 2, 1)),
        (
            '{"usage":{"cache_creation_input_tokens":128,"cache_read_input_tokens":256,"input_tokens":9}}',
            (393, None, 256),
        ),
        (
            '{"usage":{"input_tokens":9,"cache_creation_input_tokens":null,"cache_read_input_tokens":null}}',
            (9, None, None),
        ),
        ('{"text":"\\"usage\\":{\\"prompt_tokens\\":3}"}', None),
        ('{"usage":null}', None),
    ],
)
def test_usage_of_every_api(lua, document, counts):
    names = ("prompt_tokens", "completion_tokens", "cached_tokens")
    wanted = {name: count for name, count in zip(names, counts or (), strict=False) if count is not None}
    sent = b"data: " + document.encode() + b"\n\n"
    for cut in range(len(sent)):
        got, noted, _ = answered(lua, sent[:cut], sent[cut:])
        assert (got, {name: noted[name] for name in names if name in noted}) == (sent, wanted)


def test_whole_answers_are_left_alone(lua):
    bodies = [Body(b'{"usage":{"prompt_tokens":3}}')]
    envoy, noted = handle(lua, b"application/json", hide=True, bodies=bodies)
    lua[0].globals()[b"envoy_on_response"](envoy)
    assert (noted, bodies[0].touched) == ({}, False)


def test_streams_of_other_apis(lua):
    responses = [
        'event: response.created\ndata: {"response":{"usage":null}}\n\n',
        'event: response.completed\ndata: {"response":{"output":["' + "x" * 30_000 + '"],"usage":'
        '{"input_tokens":9,"input_tokens_details":{"cached_tokens":8},"output_tokens":2}}}\n\n',
    ]
    sent = "".join(responses).encode()
    pieces = [sent[at : at + 4096] for at in range(0, len(sent), 4096)]
    got, noted, _ = answered(lua, *pieces)
    assert got == sent
    assert {"prompt_tokens": 9, "completion_tokens": 2, "cached_tokens": 8}.items() <= noted.items()
    messages = [
        b'event: message_start\ndata: {"message":{"usage":{"input_tokens":9,"output_tokens":0}}}\n\n',
        b'event: message_delta\ndata: {"delta":{},"usage":{"output_tokens":21}}\n\n',
    ]
    assert {"prompt_tokens": 9, "completion_tokens": 21}.items() <= answered(lua, *messages)[1].items()


@pytest.mark.parametrize("length", [10, 100_000])
def test_what_the_engine_repeats_of_the_request_is_not_its_usage(lua, length):
    echo = '"tools":[{"x":"' + "x" * length + '","usage":{"input_tokens":1,"output_tokens":1},"choices":[]}]'
    sent = f'event: response.created\ndata: {{"response":{{{echo}}}}}\n\n'.encode()
    for size in (1000, len(sent)):
        pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
        _, noted, _ = answered(lua, *pieces, EVENTS[0].encode())
        assert "prompt_tokens" not in noted
    end = f'event: response.completed\ndata: {{"response":{{{echo},"usage":{{"input_tokens":9}}}}}}\n\n'.encode()
    noted = answered(lua, *(end[at : at + 999] for at in range(0, len(end), 999)))[1]
    assert noted["prompt_tokens"] == 9


@pytest.mark.parametrize(
    "tail", [b'data: {"error":{"message":"boom"}}', b'data: {"error":"boom"}\n', b'event: error\ndata: {"e":1}\n']
)
def test_an_unfinished_event_at_the_end_is_passed_on(lua, tail):
    assert answered(lua, EVENTS[0].encode(), tail, hide=True)[0] == EVENTS[0].encode() + tail
    assert answered(lua, EVENTS[0].encode() + tail[:9], tail[9:], hide=True)[0] == EVENTS[0].encode() + tail
    assert answered(lua, EVENTS[0].encode(), LAST.encode().rstrip(), hide=True)[0] == EVENTS[0].encode()


@pytest.mark.parametrize("tail", ["", "  \r\n"])
def test_engines_are_asked_for_usage(lua, tail):
    body = Body(b'{"model":"t","stream":true,"stream_options":{"include_usage":false}}' + tail.encode())
    lua[0].globals()[b"envoy_on_request"](handle(lua, hide=True, body=body)[0])
    assert json.loads(body.content)["stream_options"] == {"include_usage": True}


def test_engines_are_not_asked_when_nothing_is_to_be_hidden(lua):
    body = Body(b'{"stream":true}')
    lua[0].globals()[b"envoy_on_request"](handle(lua, body=body)[0])
    assert not body.touched


def test_the_source_is_part_of_the_package():
    assert Path(usage.__file__).with_name("usage.lua").is_file()
