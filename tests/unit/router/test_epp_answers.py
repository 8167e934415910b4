"""What the endpoint picker makes of answers that pass: tokens, times, the endpoint that served, the end. Over gRPC."""

import asyncio
import importlib.util
import json
from pathlib import Path

import grpc
import pytest

from manta_runtime.router.config import RouterConfig
from manta_runtime.router.epp import server
from manta_runtime.router.epp.answer import PassingAnswer
from manta_runtime.router.epp.usage import UsageReader

_spec = importlib.util.spec_from_file_location("epp_fakes", Path(__file__).with_name("epp_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
A, B, ask, stream, until = fakes.A, fakes.B, fakes.ask, fakes.stream, fakes.until
running, world = fakes.running, fakes.world


@pytest.mark.asyncio(loop_scope="module")
async def test_the_served_endpoint_and_the_tokens_are_told(world):
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 4}}
    body = json.dumps({"choices": [{"text": '"usage": no'}], "usage": usage}).encode()
    sent = (
        fakes.request_headers(), fakes.request_body(),
        fakes.response_headers(served=B), fakes.response_body(body[:9]), fakes.response_body(body[9:], end=True),
    )  # fmt: skip
    answers = await ask(world, *sent, answers=5)
    assert fakes.header(answers[2], "x-manta-replica") == "a"
    assert fakes.streamed(answers[3:]) == (body, True)
    await until(lambda: world.decider.ends)
    (end,) = world.decider.ends
    assert (end.status, end.upstream, end.attempts, end.flags, end.bytes) == (200, B, 2, "", len(body))
    assert (end.prompt_tokens, end.completion_tokens, end.cached_tokens) == (5, 7, 4)
    assert world.decider.first == [(end.id, B)]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("served", "attempts"), [(A, 1), (B, 2), ("", 1)])
async def test_a_replica_that_the_gateway_chose_itself_is_a_retry(world, served, attempts):
    world.decider.endpoints = (A,)
    sent = (
        fakes.request_headers(), fakes.request_body(),
        fakes.response_headers(served=served), fakes.response_body(b"{}", end=True),
    )  # fmt: skip
    await ask(world, *sent, answers=4)
    await until(lambda: world.decider.ends)
    (end,) = world.decider.ends
    assert (end.upstream, end.attempts) == (served, attempts)


@pytest.mark.parametrize(
    ("events", "document", "counts"),
    [
        (False, b'{"usage": {"prompt_tokens": 9, "total_tokens": 9}}', (9, None, None)),
        (
            False,
            b'{"usage": {"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}}}',
            (9, 2, 4),
        ),
        (
            False,
            b'{"usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3,'
            b' "cache_creation_input_tokens": 1}}',
            (9, 2, 3),
        ),
        (
            True,
            b'event: response.completed\ndata: {"response": {"usage": {"input_tokens": 9, "output_tokens": 2}}}\n\n',
            (9, 2, None),
        ),
        (
            True,
            b'event: message_start\ndata: {"message": {"usage": {"input_tokens": 9, "output_tokens": 0}}}\n\n'
            b'event: message_delta\ndata: {"usage": {"input_tokens": 9, "output_tokens": 2}}\n\n'
            b"event: message_stop\ndata: {}\n\n",
            (9, 2, None),
        ),
        (
            True,
            b'data: {"usage": {"prompt_tokens": 9, "completion_tokens": 1}}\n\ndata: {"usage": {"prompt_to',
            (9, 1, None),
        ),
        (False, b'{"usage": null}', (None, None, None)),
        (False, b"<html>", (None, None, None)),
        (False, b'{"usage": {"prompt_tokens": "many"}}', (None, None, None)),
    ],
    ids=[
        "embeddings",
        "responses",
        "messages",
        "responses stream",
        "messages stream",
        "cut off",
        "null",
        "no JSON",
        "odd",
    ],
)
def test_usage_of_every_api_is_read(events, document, counts):
    for cut in (1, 7, len(document)):
        reader = UsageReader(events)
        for start in range(0, len(document), cut):
            reader.feed(document[start : start + cut])
        tokens = reader.tokens()
        assert (tokens.prompt, tokens.completion, tokens.cached) == counts


CHUNK = b'data: {"choices":[{"delta":{"content":"\\"choices\\":[]"}}]}\n\n'
USAGE = b'data: {"id":"x","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize("mode", [4, 1, 2])
@pytest.mark.parametrize("hide", [True, False])
@pytest.mark.parametrize("cut", [7, 61, 1000])
@pytest.mark.asyncio(loop_scope="module")
async def test_streamed_usage_is_counted_and_shown_to_those_who_asked(world, mode, hide, cut):
    world.decider.hide_usage = hide
    answer = CHUNK * 2 + USAGE + DONE
    cut = 1000 if mode == 2 else cut
    pieces = [answer[i : i + cut] for i in range(0, len(answer), cut)]
    bodies = [fakes.response_body(piece, piece is pieces[-1]) for piece in pieces]
    sent = (
        fakes.request_headers(modes=(4, mode)), fakes.request_body(stream=True),
        fakes.response_headers(content_type="text/event-stream; charset=utf-8"), *bodies,
    )  # fmt: skip
    _, request, _, *got = await ask(world, *sent, answers=3 + len(pieces))
    asked = json.loads(fakes.streamed([request])[0])
    assert asked.get("stream_options") == ({"include_usage": True} if hide else None)
    text = b""
    for piece, reply in zip(pieces, got, strict=True):
        mutation = reply.response_body.response.body_mutation
        kind = mutation.WhichOneof("mutation")
        text += {None: piece, "body": mutation.body, "streamed_response": mutation.streamed_response.body}[kind]
    assert text == (CHUNK * 2 + DONE if hide else answer)
    await until(lambda: world.decider.ends)
    assert (world.decider.ends[0].completion_tokens, world.decider.ends[0].events) == (2, 4)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_stream_that_breaks_ends_its_request_once(world):
    async with stream(world) as (write, read):
        for message in (
            fakes.request_headers(),
            fakes.request_body(),
            fakes.response_headers(content_type="text/event-stream"),
        ):
            await write(message)
        await write(fakes.response_body(CHUNK))
        for _ in range(4):
            await read()
    await until(lambda: world.decider.ends)
    await asyncio.sleep(0.02)
    assert [(end.flags, end.status) for end in world.decider.ends] == [("DC", 200)]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_replica_without_a_connection_is_told(world):
    text = b"upstream connect error or disconnect/reset before headers. reset reason: connection refused"
    sent = (
        fakes.request_headers(), fakes.request_body(),
        fakes.response_headers(503, "text/plain"), fakes.response_body(text, end=True),
    )  # fmt: skip
    await ask(world, *sent, answers=4)
    await until(lambda: world.decider.ends)
    assert (world.decider.ends[0].flags, world.decider.ends[0].status) == ("UF", 503)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_answer_with_trailers_ends_with_them(world):
    sent = (
        fakes.request_headers(), fakes.request_body(), fakes.response_headers(),
        fakes.response_body(b"{}"), fakes.trailers("response"),
    )  # fmt: skip
    answers = await ask(world, *sent, answers=5)
    assert answers[-1].WhichOneof("response") == "response_trailers"
    await until(lambda: world.decider.ends)
    assert world.decider.ends[0].flags == ""


@pytest.mark.parametrize("blank", ["\n\n", "\r\n\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("space", ["", " "])
def test_usage_is_hidden_however_it_is_written(blank, space):
    first = f'data: {{"choices":{space}[{{"text":"x"}}]}}{blank}'
    last = f'data: {{"choices":{space}[],"usage":{space}{{"prompt_tokens":{space}1}}}}{blank}'
    sent = (first + last + first + "data: an end").encode()
    for cut in range(len(sent)):
        answer = PassingAnswer(hide_usage=True)
        answer.start({b":status": b"200", b"content-type": b"text/event-stream"}, 0.0)
        got = answer.feed(sent[:cut], False, 0.0) + answer.feed(sent[cut:], False, 0.0) + answer.feed(b"", True, 0.0)
        assert got == (first + first + "data: an end").encode()
        assert (answer.tokens().prompt, answer.events) == (1, 3)


async def test_a_picker_that_ends_waits_for_what_it_holds(monkeypatch):
    monkeypatch.setattr(server, "_NOTICE_SECONDS", 0.0)
    world = fakes.World(fakes.free_port())
    told = {"extProcPort": world.port, "drainSeconds": 0, "hold": {"seconds": 3}}
    config = RouterConfig.model_validate({**fakes.CONFIG, **told})
    async with (
        server.serve(config, fakes.HOST, world, lambda: True) as leave,
        grpc.aio.insecure_channel(f"{fakes.HOST}:{world.port + 1}") as world.channel,
        stream(world) as (write, read),
    ):
        world.decider.next = fakes.hold(0.3, world.decider.pick)
        await write(fakes.request_headers())
        await write(fakes.request_body())
        await until(lambda: world.askers)
        leaving = asyncio.create_task(leave())
        assert fakes.header(await read(), "x-gateway-destination-endpoint") == fakes.A
        leaving.cancel()
        await asyncio.wait([leaving])
