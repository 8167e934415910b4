"""Facts from a hub: what is read of a model, how little of it, and what a hub may answer instead."""

import gzip
import json
import struct

import pytest
from aiohttp import web
from hub_server import BYTES, COMMIT, CONFIG, INDEX, Hub, answering
from small_model import safetensors

from manta_operator.controller import facts_http, facts_hub
from manta_operator.controller.facts_http import Away, Refused, session
from manta_operator.controller.facts_hub import Question, ask, question


async def test_the_headers_tell_of_the_weights_and_the_weights_stay_where_they_are():
    whole = safetensors()
    async with Hub({"model.safetensors": whole}) as hub:
        found = await hub.ask(token="s3cret")
    assert (found.facts.weights_bytes, found.facts.basis, found.note) == (BYTES, "checkpoint", "")
    assert found.commit == COMMIT
    assert hub.sent < len(whole) / 10
    assert {token for *_, token in hub.asked} == {"Bearer s3cret"}
    assert hub.tokens_elsewhere == [None], "another host has seen the token"


async def test_everything_is_of_the_commit_that_the_configuration_is_of():
    async with Hub({"model.safetensors": safetensors()}) as hub:
        await hub.ask(revision="my/branch")
    assert [(revision, path) for revision, path, _ in hub.asked] == [
        ("my/branch", "config.json"),
        (COMMIT, INDEX),
        (COMMIT, "model.safetensors"),
    ]


async def test_a_long_header_in_many_files_is_read_whole():
    names = [f"model-{number}.safetensors" for number in range(9)]
    files = {name: safetensors({f"model.layers.{at}.w": [64, 64]}, pad=100_000) for at, name in enumerate(names)}
    index = {"weight_map": {f"model.layers.{at}.w": name for at, name in enumerate(names)}}
    async with Hub(files | {INDEX: json.dumps(index).encode()}) as hub:
        found = await hub.ask()
    assert found.facts.weights_bytes == 9 * 2 * 64 * 64


async def test_without_safetensors_its_configuration_is_better_than_nothing():
    async with Hub({"pytorch_model.bin": b""}) as hub:
        found = await hub.ask()
    assert (found.facts.layers, found.facts.weights_bytes, found.facts.basis) == (4, None, "config.json")
    assert found.note == "it has no safetensors files, or not all of them"


@pytest.mark.parametrize(
    ("status", "more", "words"),
    [(401, {}, "answers 401"), (403, {}, "answers 403"), (404, {}, "answers 404"), (503, {}, "answers 503")],
    ids=str,
)
async def test_a_refusal_has_its_status(status, more, words):
    async with Hub({}) as hub:
        hub.answers["config.json"] = answering(status, **more)
        with pytest.raises(Refused, match=words) as refused:
            await hub.ask()
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("said", "heeded"), [("7", 7.0), ("999999", 3600.0), ("soon", None), ("nan", 0.0), ("-1", 0.0)], ids=str
)
async def test_who_is_asked_too_often_says_when_to_come_again(said, heeded):
    async with Hub({}) as hub:
        hub.answers["config.json"] = answering(429, **{"Retry-After": said})
        with pytest.raises(Refused) as refused:
            await hub.ask()
    assert (refused.value.status, refused.value.retry_after) == (429, heeded)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>log in</html>", "config.json is not JSON"),
        (b"[" * 200_000, "config.json is not JSON"),
        (b'"text"', "not a JSON object"),
        (b"{}", "hidden_size should be"),
        (json.dumps(CONFIG | {"num_hidden_layers": "many"}).encode(), "num_hidden_layers should be"),
        (gzip.compress(json.dumps(CONFIG).encode()), "config.json is not JSON"),
        (b" " * (facts_hub.CONFIG_BYTES + 1), "config.json is larger than"),
    ],
    ids=["a page", "too deep", "text", "empty", "wrong type", "packed", "huge"],
)
async def test_what_is_no_configuration_is_refused_in_words_without_our_paths(body, words):
    async with Hub({"config.json": body}) as hub:
        with pytest.raises(Refused, match=words) as refused:
            await hub.ask()
    assert "/tmp" not in str(refused.value)
    assert refused.value.status is None


async def test_no_more_is_read_of_an_endless_answer_than_shows_it():
    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    async with Hub({}) as hub:
        hub.answers["config.json"] = endless
        with pytest.raises(Refused, match=r"config\.json is larger than"):
            await hub.ask()


def lying(start):
    return answering(206, safetensors()[:65536], **{"Content-Range": f"bytes {start}-{start + 65535}/999999"})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lying(100), "other bytes than it was asked for"),
        (answering(206, safetensors()), "other bytes than it was asked for"),
        (answering(200, b"short"), "no safetensors file"),
        (answering(200, struct.pack("<Q", 1 << 62) + b"{}"), "too long to be read from here"),
        (answering(200, struct.pack("<Q", 500) + b"{}"), "ends within its header"),
        (answering(302, Location="file:///etc/passwd"), "nobody should follow"),
        (answering(302), "nobody should follow"),
        (answering(302, Location="model.safetensors"), "for ever"),
        (answering(403), "answers 403"),
    ],
    ids=["range", "no range", "short", "endless header", "cut", "to a file", "nowhere", "a loop", "gated bytes"],
)
async def test_bytes_that_lie_leave_what_the_configuration_says(answer, words):
    async with Hub({}) as hub:
        hub.answers["model.safetensors"] = answer
        found = await hub.ask()
    assert (found.facts.basis, found.facts.weights_bytes) == ("config.json", None)
    assert words in found.note


async def test_a_server_that_ignores_ranges_is_left_after_what_was_asked_for():
    async def everything(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(safetensors())
        while True:
            await response.write(bytes(65536))

    async with Hub({}) as hub:
        hub.answers["model.safetensors"] = everything
        assert (await hub.ask()).facts.weights_bytes == BYTES


@pytest.mark.parametrize(
    "index",
    [
        {"weight_map": {"w": "../../etc/passwd"}},
        {"weight_map": {"w": "/etc/passwd"}},
        {"weight_map": {"w": 7}},
        {"weight_map": {}},
        {"weight_map": {str(number): f"{number}.safetensors" for number in range(facts_hub.MOST_FILES + 1)}},
        [],
    ],
    ids=["up", "absolute", "a number", "empty", "too many", "a list"],
)
async def test_an_index_that_is_none_leads_nowhere(index):
    async with Hub({INDEX: json.dumps(index).encode(), "model.safetensors": safetensors()}) as hub:
        found = await hub.ask()
    assert found.facts.basis == "config.json"
    assert INDEX in found.note
    assert [path for _, path, _ in hub.asked] == ["config.json", INDEX]


async def test_half_of_the_files_are_not_taken_for_all_of_them():
    index = {"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}
    async with Hub({INDEX: json.dumps(index).encode(), "a.safetensors": safetensors()}) as hub:
        found = await hub.ask()
    assert found.facts.weights_bytes is None


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_bytes_that_may_come_later_are_waited_for(status):
    async with Hub({}) as hub:
        hub.answers["model.safetensors"] = answering(status)
        with pytest.raises(Refused, match=str(status)):
            await hub.ask()


async def test_all_headers_together_have_a_limit(monkeypatch):
    monkeypatch.setattr(facts_hub, "ALL_BYTES", 1000)
    async with Hub({"model.safetensors": safetensors(pad=2000)}) as hub:
        found = await hub.ask()
    assert "too long to be read from here" in found.note


async def test_a_hub_that_is_not_there_is_away():
    async with Hub({}) as hub:
        pass
    async with session() as client:
        with pytest.raises(Away, match="cannot be reached"):
            await ask(client, Question("org/model", "main", hub.url))


async def test_a_hub_that_hangs_up_is_asked_again():
    async def hang_up(request):
        request.transport.abort()
        return web.Response()

    async with Hub({}) as hub:
        hub.answers["config.json"] = hang_up
        with pytest.raises(Refused, match="breaks off") as refused:
            await hub.ask()
    assert passes(refused)


def passes(refused):
    return refused.value.passing and not isinstance(refused.value, Away)


async def test_a_hub_that_is_silent_is_asked_again(monkeypatch):
    import aiohttp

    monkeypatch.setattr(facts_http, "_TIMEOUT", aiohttp.ClientTimeout(sock_read=0.1))

    async def silent(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        while not request.transport.is_closing():
            await _tick()

    async with Hub({}) as hub:
        hub.answers["config.json"] = silent
        with pytest.raises(Refused, match="does not answer in time") as refused:
            await hub.ask()
    assert passes(refused)


async def _tick():
    import asyncio

    await asyncio.sleep(0.01)


async def test_a_hub_that_drips_is_given_up(monkeypatch):
    monkeypatch.setattr(facts_hub, "READ_SECONDS", 0.2)

    async def drip(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await _tick()

    async with Hub({}) as hub:
        hub.answers["config.json"] = drip
        with pytest.raises(Refused, match="takes longer than") as refused:
            await hub.ask()
    assert passes(refused)


@pytest.mark.parametrize(
    ("url", "location", "allowed"),
    [
        ("https://hub/a", "https://cdn/b", True),
        ("https://hub/a", "/b", True),
        ("http://hub/a", "http://cdn/b", True),
        ("http://hub/a", "https://cdn/b", True),
        ("https://hub/a", "http://cdn/b", False),
        ("https://hub/a", "ftp://cdn/b", False),
    ],
)
def test_no_redirect_leaves_encryption(url, location, allowed):
    if allowed:
        assert facts_http._next(url, location)
    else:
        with pytest.raises(Refused):
            facts_http._next(url, location)


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("hf://org/model", True),
        ("hf://org/model/", True),
        ("hf://Qwen/Qwen2.5-0.5B_x", True),
        ("hf://model", False),
        ("hf://org/model/more", False),
        ("hf://org/..", False),
        ("hf://org/a?b", False),
        ("s3://org/model", False),
        ("file:///org/model", False),
    ],
)
def test_only_a_repository_of_a_hub_is_a_question(uri, found):
    assert (question(uri, None, "http://hub/") is not None) == found
