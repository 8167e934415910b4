"""What Envoy learns of a request and tells: tokens, access logs, spans. A real Envoy, a scripted picker and engines."""

import asyncio
import importlib.util
import json
import re
from io import BytesIO
from pathlib import Path

import pytest
import pytest_asyncio

# pytest's importlib mode puts no test folder on sys.path.
_spec = importlib.util.spec_from_file_location("envoy_fakes", Path(__file__).with_name("envoy_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
URL = fakes.URL

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

USAGE = (
    b'"usage":{"prompt_tokens":12,"total_tokens":19,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":4}}'
)
EVENT = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
LAST = b'data: {"id":"c","choices":[],' + USAGE + b"}\n\n"
DONE = b"data: [DONE]\n\n"
COUNTS = {"prompt_tokens": 12, "completion_tokens": 7, "cached_tokens": 4}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory):
    tracing = {"endpoint": f"http://{fakes.POD}:4318", "samplingPercent": 0}
    world = fakes.World(tmp_path_factory.mktemp("envoy"), auth=True, hold={"seconds": 1}, tracing=tracing)
    await world.start()
    yield world
    await world.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared):
    shared.reset()
    return shared


async def ask(world, headers=None, **body):
    """POST; (content, headers)."""
    data = json.dumps({"model": "t", **body})
    async with world.session.post(URL + "/v1/completions", data=BytesIO(data.encode()), headers=headers) as response:
        assert response.status == 200
        return await response.read(), response.headers


def sends(*pieces, pause=0.0, **options):
    async def script(request, writer):
        await fakes.write(writer, *pieces, pause=pause, **options)

    return script


async def test_a_stream_shows_usage_to_whom_asked_for_it(world):
    world.engines["a"].script = sends(EVENT, EVENT, LAST, DONE)
    world.to("a", x_manta_usage="count")
    content, headers = await ask(world, stream=True)
    assert content == EVENT * 2 + LAST + DONE
    assert json.loads(world.engines["a"].requests[0].body) == {"model": "t", "stream": True}
    end = await world.ends.one(headers["x-request-id"])
    assert COUNTS.items() <= end.items()
    assert (end["events"], end["flags"], end["status"], end["bytes"]) == (4, "-", 200, len(content))
    assert all(isinstance(end[name], int | float) for name in ("first_byte_ms", "duration_ms", "first_data_ms"))


@pytest.mark.parametrize("size", [11, 64, 4096])
async def test_a_stream_hides_usage_from_whom_did_not_ask(world, size):
    whole = EVENT * 3 + LAST + DONE
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    world.engines["a"].script = sends(*pieces, pause=0.002)
    world.to("a", x_manta_usage="hide")
    content, headers = await ask(world, stream=True)
    assert content == EVENT * 3 + DONE
    assert json.loads(world.engines["a"].requests[0].body)["stream_options"] == {"include_usage": True}
    assert COUNTS.items() <= (await world.ends.one(headers["x-request-id"])).items()


async def test_a_large_request_is_asked_for_usage_and_tried_again_with_it(world):
    async def dies(request, writer):
        writer.transport.abort()

    world.engines["a"].script, world.engines["b"].script = dies, sends(EVENT, LAST, DONE)
    world.to("ab", x_manta_usage="hide")
    prompt = "x" * (fakes.MAX_BODY - 100)
    content, _ = await ask(world, stream=True, prompt=prompt)
    assert content == EVENT + DONE
    body = json.loads(world.engines["b"].requests[0].body)
    assert body == {"model": "t", "stream": True, "prompt": prompt, "stream_options": {"include_usage": True}}


TOLD = {"x_manta_prompt_tokens": "12", "x_manta_completion_tokens": "7", "x_manta_cached_tokens": "4"}


async def logged(world, headers):
    """The access log's line of a request."""
    request = headers["x-request-id"]
    await fakes.until(lambda: world.logged(request))
    return world.logged(request)


async def test_whole_answers_tell_their_tokens_in_headers_which_clients_do_not_see(world):
    document = b'{"data":[' + b"0.25," * 600_000 + b"0]," + USAGE + b"}"

    async def script(request, writer):
        others = {"x_manta_replica": "no", "x_manta_cache": "hit", "x_manta_tenant": "no", "x_manta_usage": "no"}
        return fakes.answer(document, **TOLD, **others, x_other="yes")

    world.engines["a"].script = script
    content, headers = await ask(world)
    assert content == document
    ours = {name: value for name, value in headers.items() if name.startswith("x-") and name != "x-request-id"}
    assert ours == {"x-manta-replica": "a", "x-other": "yes"}
    end = await world.ends.one(headers["x-request-id"])
    assert COUNTS.items() <= end.items()
    assert (end["events"], end["first_data_ms"]) == (None, None)
    line = await logged(world, headers)
    assert COUNTS.items() <= line.items()
    assert (line["status"], line["events"], line["bytes_sent"]) == (200, None, len(document))


async def test_only_what_the_picker_calls_a_stream_passes_through_lua(world):
    """Lua would count its events."""
    world.engines["a"].script = sends(EVENT, LAST, DONE)
    content, headers = await ask(world, stream=True)
    assert content == EVENT + LAST + DONE
    assert (await world.ends.one(headers["x-request-id"]))["events"] is None
    world.to("a", x_manta_usage="count")
    content, headers = await ask(world, stream=True)
    assert content == EVENT + LAST + DONE
    assert (await world.ends.one(headers["x-request-id"]))["events"] == 3
    line = await logged(world, headers)
    assert (COUNTS | {"events": 3}).items() <= line.items()


async def test_what_is_unknown_is_null(world):
    _, headers = await ask(world)
    end = await world.ends.one(headers["x-request-id"])
    assert [end[name] for name in (*COUNTS, "events")] == [None] * 4


async def test_a_stream_whose_client_left_is_told_of_by_its_events(world):
    """They are noted whenever 16 more have passed. Each is sent when the one before has come: none arrive together."""
    turns = asyncio.Semaphore(1)

    async def one_by_one(request, writer):
        await fakes.write(writer, end=False)
        for _ in range(40):
            await turns.acquire()
            writer.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))

    world.engines["a"].script = one_by_one
    world.to("a", x_manta_usage="count")
    response = await world.session.post(URL + "/v1/completions", data=b"{}")
    for _ in range(40):
        await response.content.readuntil(b"\n\n")
        turns.release()
    request = response.headers["x-request-id"]
    response.close()
    end = await world.ends.one(request)
    assert (end["events"], end["completion_tokens"]) == (32, None)
    assert "DC" in end["flags"]


async def test_with_keys_nobody_passes_without_a_picker(world):
    await world.picker.stop()
    try:
        async with world.session.post(URL + "/v1/completions", data=b"{}") as response:
            said = await response.json()
    finally:
        await world.picker.start()
    assert (response.status, said["error"]["code"]) == (503, "picker_unavailable")


async def spans(world, headers):
    """The spans that Envoy sent of one request (its names and ids are plain in the protobuf)."""
    receiver = fakes.Server(fakes.POD, 4318, fakes.says("traces"))
    await receiver.start()
    try:
        _, got = await ask(world, headers=headers)
        if "traceparent" in headers and headers["traceparent"].endswith("01"):
            await fakes.until(lambda: receiver.requests)
        else:
            await asyncio.sleep(0.3)
    finally:
        await receiver.stop()
    return receiver.requests, got


async def test_a_trace_that_a_client_began_goes_on(world):
    world.to("a", x_manta_tenant="acme")
    sent, _ = await spans(world, {"traceparent": f"00-{TRACE}-{SPAN}-01"})
    parent = world.engines["a"].requests[0].headers["traceparent"]
    assert re.fullmatch(f"00-{TRACE}-(?!{SPAN})[0-9a-f]{{16}}-01", parent)
    assert {request.path for request in sent} == {"/v1/traces"}
    body = b"".join(request.body for request in sent)
    for wanted in (bytes.fromhex(TRACE), bytes.fromhex(SPAN), b"manta-router", b"manta.tenant", b"acme"):
        assert wanted in body


async def test_other_requests_are_sampled_as_configured(world):
    sent, _ = await spans(world, {})
    assert sent == []
