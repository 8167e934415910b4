"""One request's decision: who may ask, what is answered at once, what an end settles."""

import json

import pytest
from picker_world import World, code

from manta_runtime.router.picker.answers import encoded
from manta_runtime.router.picker.completions import End
from manta_runtime.router.picker.decide import Answered, Picked, Refused
from manta_runtime.router.picker.scrape import Look


@pytest.fixture
def world(tmp_path):
    return lambda *args, **kwargs: World(tmp_path, *args, **kwargs)


async def test_a_request_is_placed_at_once(world):
    some = world()
    some.replicas("a", "b", "c", "d")
    picked = some.ask()
    assert (picked.tenant, picked.request_id) == ("anonymous", "r1")
    assert len(set(picked.endpoints)) == 3
    answer = encoded(picked)
    assert answer.status == 200
    names = [name for name, _ in answer.headers]
    assert names == ["x-gateway-destination-endpoint", "x-manta-replica", "x-manta-tenant", "x-manta-reason"]
    assert f'manta_router_picks_total{{replica="{picked.replica}"}} 1.0' in some.metrics


@pytest.mark.parametrize(
    ("path", "kind", "body", "said"),
    [
        ("completions", b"application/json", {"model": "t", "prompt": "x", "stream": True}, "hide"),
        (
            "completions",
            b"application/json",
            {"model": "t", "prompt": "x", "stream": True, "stream_options": {"include_usage": True}},
            "count",
        ),
        ("messages", b"application/json", {"model": "t", "messages": [], "stream": True}, "count"),
        ("completions", b"application/json", {"model": "t", "prompt": "x"}, None),
        ("audio/transcriptions", b"multipart/form-data; boundary=x", b"--x--", "count"),
    ],
)
async def test_what_envoy_is_told_of_usage(world, path, kind, body, said):
    some = world()
    some.replicas("a")
    picked = some.ask(path=f"/v1/{path}", body=body, content_type=kind)
    assert dict(encoded(picked).headers).get("x-manta-usage") == said
    assert picked.hide_usage is (said == "hide")


@pytest.mark.parametrize(
    ("asked", "status", "what"),
    [
        ({"body": {"model": "gpt"}}, 404, "model_not_found"),
        ({"body": b'{"model": "t"'}, 400, "invalid_json"),
        ({"body": b'["t"]'}, 400, "invalid_json"),
        ({"body": {"model": 3}}, 400, "invalid_value"),
        ({"body": b""}, 400, "invalid_json"),
        ({"path": "/v1/models/gpt", "method": "GET", "body": b""}, 404, "model_not_found"),
    ],
)
async def test_refusals(world, asked, status, what):
    some = world()
    some.replicas("a")
    refused = some.ask(**asked)
    assert (refused.status, code(refused)) == (status, what)
    assert f'manta_router_refusals_total{{code="{what}"}} 1.0' in some.metrics


@pytest.mark.parametrize(("status", "envoys"), [(400, 481), (404, 404), (429, 429), (503, 480)])
def test_envoys_statuses(status, envoys):
    answer = encoded(Refused(status, b"{}", "x", retry_after=7))
    assert (answer.status, answer.headers) == (envoys, (("retry-after", "7"),))


async def test_keys_models_and_limits(world):
    some = world(keys=("small", "urgent"))
    some.replicas("a")
    nobody = some.ask()
    assert (nobody.status, nobody.headers) == (401, (("www-authenticate", "Bearer"),))
    assert isinstance(some.ask("urgent", body={"model": "alias"}), Picked)
    hidden = some.ask("small", body={"model": "alias"})
    assert (hidden.status, "served here: t" in hidden.body.decode()) == (404, True)
    assert "alias" in hidden.body.decode().partition("does not exist")[0]
    assert [type(some.ask("small", body={"prompt": "x"})) for _ in range(2)] == [Picked] * 2
    over = some.ask("small")
    assert (over.status, code(over)) == (429, "rate_limit_exceeded")
    assert over.retry_after > 0


async def test_the_models_are_those_of_all_replicas_and_of_none(world):
    some = world(keys=("small", "urgent"))
    listed = json.loads(some.ask("urgent", "/v1/models", "GET", b"").body)
    assert [model["id"] for model in listed["data"]] == ["t", "alias"]
    some.replicas("a", "b")
    told = {"data": [{"id": "t", "root": "org/t"}, {"id": "lora", "root": "/x", "parent": "t"}]}
    some.picker._told_models("b", json.dumps(told).encode())
    some.picker._told_models("a", b"no JSON")
    listed = json.loads(some.ask("urgent", "/v1/models", "GET", b"").body)["data"]
    assert [model["id"] for model in listed] == ["t", "alias", "lora"]
    assert listed[0]["root"] == "org/t"
    assert [m["id"] for m in json.loads(some.ask("small", "/v1/models", "GET", b"").body)["data"]] == ["t"]
    one = some.ask("urgent", "/v1/models/lora", "GET", b"")
    assert (encoded(one).status, json.loads(one.body)["parent"]) == (482, "t")
    assert {some.ask("urgent", body={"model": "lora"}).replica for _ in range(4)} == {"b"}
    assert some.ask("small", "/v1/models/lora", "GET", b"").status == 404
    some.replicas()
    assert isinstance(some.ask("urgent", "/v1/models/lora", "GET", b""), Answered)


async def test_only_what_a_gateway_allows(world):
    some = world()
    some.replicas("a", "b")
    assert {some.ask(subset=("10.0.0.2:8000",)).replica for _ in range(4)} == {"b"}
    assert {code(some.ask(subset=subset)) for subset in ((), ("10.9.9.9:8000",))} == {"no_ready_replica"}
    some.replicas("a", "b", ready="False")
    assert code(some.ask(subset=("10.0.0.2:8000",))) == "no_ready_replica"


async def test_an_end_settles_tokens_and_a_retry_raises_doubts(world, monkeypatch):
    some, doubts = world(keys=("small",)), []
    monkeypatch.setattr(some.picker.looks, "soon", doubts.append)
    some.replicas("a", "b")
    picked = some.ask("small")
    other = next(address for address in picked.endpoints if address != picked.endpoints[0])
    some.end(picked, attempts=2, upstream=other, prompt_tokens=10, completion_tokens=5, cached_tokens=4)
    assert some.picker.limits.running() == {"small": 0}
    assert (some.picker.members.ejected, doubts) == (set(), [picked.replica]), "it may just have been full"
    metrics = some.metrics
    assert 'manta_router_tokens_total{kind="completion",tenant="small"} 5.0' in metrics
    assert "manta_router_retries_total 1.0" in metrics


async def test_a_lost_connection_ejects(world):
    some = world()
    some.replicas("a", "b")
    picked = some.ask()
    some.end(picked, flags="UC", attempts=1, upstream=picked.endpoints[0])
    assert some.picker.members.ejected == {picked.replica}
    assert some.ask().replica != picked.replica


async def test_when_envoy_goes_everything_is_settled(world):
    some = world(keys=("small",))
    some.replicas("a")
    some.ask("small")
    some.picker.envoy_lost()
    assert some.picker.limits.running() == {"small": 0}
    assert some.picker.ledger.in_flight() == {"a": 0}


async def test_a_question_that_is_asked_again_counts_once(world):
    some = world(keys=("small",))
    some.replicas("a")
    some.ask("small")
    some.number = 0
    assert isinstance(some.ask("small"), Picked)
    assert some.picker.limits.running() == {"small": 1}
    assert some.picker.ledger.in_flight() == {"a": 1}
    assert [type(some.ask("small")) for _ in range(2)] == [Picked, Refused], "2 a minute"


@pytest.mark.parametrize("keys", [(), ("small",)])
async def test_the_explanation_tells_loads_only_where_nobody_else_is(world, keys):
    some = world(keys=keys)
    some.replicas("a", "b")
    explain = json.loads(some.ask(*keys, x_manta_explain=b"1").explain)
    assert explain["replica"] in "ab"
    assert ("candidates" in explain) is not bool(keys)
    assert "\n" not in dict(encoded(some.ask(*keys, x_manta_explain=b"1")).headers)["x-manta-explain"]


async def test_the_explanation_is_no_oracle_over_prompts_of_others(world):
    """What was asked before and what was not is explained alike."""
    some = world(keys=("small", "urgent"))
    some.replicas("a")
    secret = "contract with ACME, price 4711 EUR. " * 40
    some.ask("small", body={"model": "t", "prompt": secret})
    guesses = (secret, secret[:300] + "?" + secret[301:], secret[::-1])
    told = {some.ask("urgent", body={"model": "t", "prompt": guess}, x_manta_explain=b"1").explain for guess in guesses}
    assert [set(json.loads(text)) for text in told] == [{"policy", "replica", "prompt_tokens", "held_ms"}]


async def test_a_cached_answer_needs_no_replica(world):
    some = world("cache: {maxBytes: 1000000, ttlSeconds: 60}")
    some.replicas("a")
    body = {"model": "t", "prompt": "x", "temperature": 0}
    picked = some.ask(body=body)
    assert picked.via_cache
    assert ("x-manta-way", "cache") in encoded(picked).headers
    cache = some.picker.cache
    ticket = cache.ticket(picked.request_id, some.now)
    assert ticket.destinations[0].address == "10.0.0.1:8000"
    copy = cache.copy(ticket, "application/json")
    copy.add(json.dumps({"choices": [{"text": "y", "finish_reason": "stop"}]}).encode())
    assert cache.keep(ticket, "", copy, some.now)
    some.now += 3
    hit = some.ask(body=body)
    assert (hit.headers, b'"y"' in hit.body) == ((("x-manta-cache", "hit"), ("age", "3")), True)
    assert some.picker.ledger.in_flight() == {"a": 1}


async def test_a_bug_is_a_refusal_that_does_not_open_the_door(world, monkeypatch):
    some = world()
    some.replicas("a")
    monkeypatch.setattr(some.picker.chooser, "choose", lambda *_: 1 // 0)
    refused = some.ask()
    assert (encoded(refused).status, code(refused)) == (480, "router_failed")
    assert 'manta_router_refusals_total{code="router_failed"} 1.0' in some.metrics


async def test_a_slow_reader_holds_its_place_and_pays_for_what_it_got(world):
    some = world(keys=("small",))
    some.limit("small", concurrency=1, tokensPerMinute=10_000)
    some.replicas("a")
    body = {"model": "t", "prompt": "x", "stream": True, "max_tokens": 9000}
    slow = some.ask("small", body=body)
    some.now += 6
    some.picker._looked("a", Look(), some.now)
    assert some.picker.ledger.in_flight() == {"a": 0}
    assert code(some.ask("small", body=body)) == "rate_limit_exceeded"
    some.end(slow, prompt_tokens=1, completion_tokens=9000, upstream=slow.endpoints[0], attempts=1, events=9000)
    assert 'manta_router_tokens_total{kind="completion",tenant="small"} 9000.0' in some.metrics
    assert some.ask("small", body=body).status == 429


async def test_who_is_turned_away_is_not_charged(world):
    some = world("hold: {seconds: 0}", keys=("small",))
    some.limit("small", tokensPerMinute=300, concurrency=1)
    for _ in range(3):
        assert code(some.ask("small")) == "no_ready_replica"
    assert some.picker.limits.running() == {"small": 0}
    some.replicas("a")
    assert isinstance(some.ask("small"), Picked)


async def test_what_nobody_tells_the_end_of_is_settled_in_time(world, monkeypatch):
    some = world("timeouts: {requestSeconds: 100}", keys=("small",))
    some.replicas("a")
    monkeypatch.setattr("time.monotonic", lambda: some.now)
    some.ask("small")
    some.now += 159
    some.picker.tick()
    assert some.picker.limits.running() == {"small": 1}
    some.now += 2
    some.picker.tick()
    assert some.picker.limits.running() == {"small": 0}


async def test_a_bug_does_not_keep_all_others_waiting(world, monkeypatch):
    some = world()
    poison, other = (some.ask(body={"model": "t", "prompt": prompt}) for prompt in ("poison" * 50, "x"))
    choose = some.picker.chooser.choose
    monkeypatch.setattr(
        some.picker.chooser, "choose", lambda asked, *rest: choose(asked, *rest) if asked.prompt_tokens < 50 else 1 // 0
    )
    some.replicas("a")
    assert (code(poison.result()), other.result().replica) == ("router_failed", "a")


async def test_what_is_over_a_limit_is_not_even_read(world):
    some = world(keys=("small",))
    some.replicas("a")
    some.ask("small")
    some.ask("small")
    assert code(some.ask("small", body=b"{")) == "rate_limit_exceeded"
    some.limit("small", concurrency=2)
    assert code(some.ask("small", body=b"{")) == "rate_limit_exceeded"
    some.limit("small", concurrency=3)
    assert code(some.ask("small", body=b"{")) == "invalid_json"


async def test_only_replicas_that_have_the_adapter_are_tried(world):
    some = world()
    some.replicas("a", "b", "c")
    some.picker._told_models("a", b'{"data": [{"id": "lora", "parent": "t"}]}')
    picked = some.ask(body={"model": "lora", "prompt": "x"})
    assert picked.endpoints == ("10.0.0.1:8000",)
    named = dict(encoded(picked).headers)["x-gateway-destination-endpoint"].split(",")
    assert set(named) == {"10.0.0.1:8000"}
    assert len(named) > 30
    named = dict(encoded(some.ask()).headers)["x-gateway-destination-endpoint"].split(",")
    assert len(named) == 3


async def test_what_a_stream_sent_counts_when_its_client_has_left(world):
    some = world(keys=("small",))
    some.limit("small", tokensPerMinute=1000)
    some.replicas("a")
    picked = some.ask("small")
    some.decider.ended(End(picked.request_id, "DC", 200, prompt_tokens=9, completion_tokens=0, events=40))
    assert some.picker.limits._accounts["small"].tokens.total == 49
