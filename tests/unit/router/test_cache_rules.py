"""What the cache may answer at all, what makes two requests one, and which revision's answers are valid."""

import json
from dataclasses import dataclass

import pytest

from manta_runtime.router.cache import key
from manta_runtime.router.cache.response_cache import Destination, Hit, Miss, ResponseCache
from manta_runtime.router.cache.rules import Directives, current_revision, directives

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0}
ANSWER = b'{"choices":[{"finish_reason":"stop"}]}'


@dataclass(frozen=True)
class Asked:
    path: str = "/v1/chat/completions"
    stream: bool = False
    wants_usage: bool = False
    deterministic: bool = True


@dataclass
class Question:
    body: bytes
    headers: dict[bytes, bytes]


def ask(cache, body=CHAT, asked=None, tenant="t", revision="r1", now=0.0, control=b""):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return cache.ask(tenant, Question(raw, {b"cache-control": control}), asked or Asked(), revision, now)


def keep(cache, miss, revision="r1", now=0.0, body=ANSWER, kind="application/json"):
    cache.expect(miss, "id", [Destination("10.0.0.1:8000", revision)], now)
    ticket = cache.ticket("id", now)
    copy = cache.copy(ticket, kind)
    copy.add(body)
    return cache.keep(ticket, revision, copy, now)


@pytest.fixture
def cache():
    """One that holds the answer to CHAT, of revision r1, kept at 0 s."""
    cache = ResponseCache(1 << 20, 100)
    assert keep(cache, ask(cache))
    return cache


def spelled(**fields):
    return json.dumps(CHAT | fields).encode()


@pytest.mark.parametrize(
    ("body", "hit"),
    [
        pytest.param(json.dumps(CHAT, indent=3).encode(), True, id="white space"),
        pytest.param(json.dumps(dict(reversed(CHAT.items()))).encode(), True, id="order of keys"),
        pytest.param(spelled().replace(b"Hi", b"\\u0048i"), True, id="escapes"),
        pytest.param(
            spelled().replace(b'"temperature": 0', b'"temperature": 1, "temperature": 0'), True, id="last wins"
        ),
        pytest.param(spelled(temperature=0.0), False, id="another spelling of zero is no loss"),
        pytest.param(spelled(model="n"), False, id="model or adapter"),
        pytest.param(spelled(top_p=0.5), False, id="top_p"),
        pytest.param(spelled(seed=1), False, id="seed"),
        pytest.param(spelled(n=1), False, id="n"),
        pytest.param(spelled(max_tokens=5), False, id="max_tokens"),
        pytest.param(spelled(stream=True), False, id="stream"),
        pytest.param(spelled(user="u"), False, id="user"),
        pytest.param(spelled(messages=[{"content": "Hi", "role": "system"}]), False, id="roles"),
        pytest.param(spelled(messages=CHAT["messages"] * 2), False, id="more messages"),
    ],
)
def test_what_makes_two_requests_one(cache, body, hit):
    assert isinstance(ask(cache, body), Hit if hit else Miss)


@pytest.mark.parametrize(
    ("difference", "hit"),
    [
        pytest.param({}, True, id="the same"),
        pytest.param({"tenant": "u"}, False, id="another tenant"),
        pytest.param({"asked": Asked("/v1/completions")}, False, id="another path"),
        pytest.param({"revision": "r2"}, False, id="another revision"),
        pytest.param({"revision": None}, False, id="no replica"),
        pytest.param({"now": 99.0}, True, id="before its time is over"),
        pytest.param({"now": 100.0}, False, id="too old"),
        pytest.param({"control": b"no-cache"}, False, id="the client wants a new one"),
        pytest.param({"control": b"max-age=5", "now": 4.0}, True, id="young enough"),
        pytest.param({"control": b"max-age=5", "now": 6.0}, False, id="not young enough"),
        pytest.param({"control": b"max-age=" + b"9" * 5000}, True, id="any age"),
    ],
)
def test_when_an_answer_is_valid(cache, difference, hit):
    assert isinstance(ask(cache, **difference), Hit if hit else Miss)


@pytest.mark.parametrize(
    ("body", "asked", "control"),
    [
        pytest.param(CHAT, Asked(deterministic=False), b"", id="neither temperature 0 nor a seed"),
        pytest.param(CHAT, Asked("/v1/embeddings"), b"", id="not generated"),
        pytest.param(CHAT, Asked("/v1/responses/r1/cancel"), b"", id="about another response"),
        pytest.param(CHAT, None, b"private, No-Store", id="no-store"),
        pytest.param(b"[1]", None, b"", id="no object"),
        pytest.param(b"{", None, b"", id="no JSON"),
        pytest.param(b'{"a": 1e999}', None, b"", id="a number nobody can hold"),
        pytest.param(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", None, b"", id="too deep"),
        pytest.param(CHAT | {"user": "u" * key.MAX_BODY_BYTES}, None, b"", id="too large"),
        pytest.param({"input": "a", "previous_response_id": "r"}, Asked("/v1/responses"), b"", id="a conversation"),
        pytest.param({"input": "a", "background": True}, Asked("/v1/responses"), b"", id="an answer for later"),
        pytest.param({"input": "a", "store": True}, Asked("/v1/responses"), b"", id="an answer to be stored"),
        pytest.param({"tools": [{"type": "web_search"}]}, Asked("/v1/responses"), b"", id="a tool that looks around"),
        pytest.param({"messages": [{"image_url": {"url": "http://a/b.png"}}]}, None, b"", id="a picture elsewhere"),
        pytest.param({"input": [{"image_url": "https://a/b.png"}]}, Asked("/v1/responses"), b"", id="also"),
        pytest.param(rb'{"messages": [{"image\u005furl": "http://a"}]}', None, b"", id="also, spelled otherwise"),
    ],
)
def test_what_is_none_of_the_caches_business(body, asked, control):
    assert ask(ResponseCache(1 << 20, 100), body, asked, control=control) is None


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"messages": [{"image_url": {"url": "data:image/png;base64,AA"}}]}, "/v1/chat/completions"),
        ({"messages": [{"content": "see http://a url"}]}, "/v1/chat/completions"),
        ({"tools": [{"function": {"parameters": {"properties": {"url": {"type": "string"}}}}}]}, "/v1/messages"),
        ({"input": "a", "store": False, "tools": [{"type": "function"}]}, "/v1/responses"),
    ],
)
def test_what_only_looks_as_if_it_depended_on_something_else(body, path):
    assert isinstance(ask(ResponseCache(1 << 20, 100), body, Asked(path)), Miss)


def test_a_request_that_must_not_be_read_is_kept_again(cache):
    miss = ask(cache, control=b"no-cache", now=10.0)
    assert keep(cache, miss, now=10.0, body=ANSWER + b" ")
    hit = ask(cache, now=15.0)
    assert (hit.body, hit.headers) == (ANSWER + b" ", (("x-manta-cache", "hit"), ("age", "5")))
    assert (cache.hits, cache.misses, cache.kept, cache.entries) == (1, 2, 2, 1)


def test_going_back_to_a_revision_finds_its_answers_again(cache):
    assert keep(cache, ask(cache, revision="r2"), "r2", body=ANSWER + b"\n")
    assert ask(cache, revision="r2").body == ANSWER + b"\n"
    assert ask(cache, revision="r1").body == ANSWER


def test_a_fallback_of_another_revision_keeps_its_answer_under_its_own():
    cache = ResponseCache(1 << 20, 100)
    assert keep(cache, ask(cache, revision="new"), "old")
    assert isinstance(ask(cache, revision="new"), Miss)


def test_tickets_end_with_their_request_or_their_time():
    cache = ResponseCache(1 << 20, 100)
    miss = ask(cache)
    for number in range(3):
        cache.expect(miss, f"id{number}", [], float(number * 20))
    assert cache.ticket("id0", 40.0) is None
    assert cache.ticket("id2", 40.0).miss == miss
    cache.done("id2")
    assert cache.ticket("id2", 40.0) is None
    for number in range(11_000):
        cache.expect(miss, str(number), [], 50.0)
    assert (cache.ticket("0", 50.0), cache.ticket("10999", 50.0) is None) == (None, False)


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        (b"", Directives()),
        (b"max-age=x, stale", Directives()),
        (b"No-Cache", Directives(read=False)),
        (b"max-age=60, max-age=5", Directives(max_age=5)),
        (b"no-cache,no-store", Directives(read=False, keep=False)),
    ],
)
def test_directives(header, meant):
    assert directives(header) == meant


@pytest.mark.parametrize(
    ("replicas", "current"),
    [
        pytest.param([], None, id="none"),
        pytest.param([("a", "1"), ("a", "2")], "a", id="one"),
        pytest.param([("a", "1"), ("b", "2")], "b", id="a rollout's first new replica"),
        pytest.param([("a", "1"), ("b", "2"), ("a", "3")], "b", id="an old one created anew meanwhile"),
        pytest.param([("b", "2"), ("a", "3")], "a", id="the way back"),
    ],
)
def test_the_valid_revision(replicas, current):
    assert current_revision(replicas) == current


def test_parts_of_a_name_do_not_run_into_each_other():
    names = {key.digest(*parts, {}) for parts in [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", "")]}
    assert len(names) == 4
