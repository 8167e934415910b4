"""One request's decision: who may ask, what is answered at once, what is held, who goes first, what an end settles."""

import asyncio
import json

import pytest

from manta_runtime.router.config import parse
from manta_runtime.router.picker.answers import encoded
from manta_runtime.router.picker.completions import End
from manta_runtime.router.picker.decide import Answered, Picked, Refused
from manta_runtime.router.picker.http import Question
from manta_runtime.router.picker.picker import Picker

CONFIG = "{deployment: t, namespace: ns, servedNames: [t, alias], selector: a=b, %s}"
TENANTS = """
tenants:
- {name: anonymous}
- {name: small, models: [t], requestsPerMinute: 2}
- {name: urgent, priority: 5}
"""


class World:
    """A picker without edges, whose clock is set by hand."""

    def __init__(self, folder, options="", keys=()):
        (folder / "keys").mkdir()
        (folder / "tenants.yaml").write_text(TENANTS)
        if keys:
            options = f"{options + ',' if options else ''} auth: true, keysDir: {folder / 'keys'}"
        config = CONFIG % f"tenantsFile: {folder / 'tenants.yaml'}, {options}"
        for name in keys:
            from hashlib import sha256

            (folder / "keys" / name).write_text(f"sha256:{sha256(name.encode()).hexdigest()}\n")
        self.now = 100.0
        self.picker = Picker(parse(config), folder)
        self.picker.looks.follow = lambda: None
        self.decider = self.picker.decider
        self.decider._clock = lambda: self.now
        for refresh in self.picker.refreshers():
            refresh()
        self.number = 0

    def replicas(self, *names, ready="True"):
        conditions = [{"type": "Ready", "status": ready}]
        pods = [
            {"metadata": {"name": name}, "status": {"podIP": f"10.0.0.{number}", "conditions": conditions}}
            for number, name in enumerate(names, start=1)
        ]
        self.picker.members.replace(pods)
        self.picker._pods_changed()

    def ask(self, key="", path="/v1/completions", method="POST", body=None, subset=None, **headers):
        self.number += 1
        body = {"model": "t", "prompt": "x"} if body is None else body
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        found = {b"x-request-id": b"r%d" % self.number, b"content-type": b"application/json"}
        found |= {name.replace("_", "-").encode(): value for name, value in headers.items()}
        if key:
            found[b"authorization"] = f"Bearer {key}".encode()
        return self.decider.decide(Question(method, "/pick" + path, found, content, subset))

    def end(self, decision, **fields):
        self.decider.ended(End(decision.request_id, status=200, **fields))

    @property
    def metrics(self):
        return self.picker.metrics.render().decode()


@pytest.fixture
def world(tmp_path):
    return lambda *args, **kwargs: World(tmp_path, *args, **kwargs)


def code(decision):
    return json.loads(decision.body)["error"]["code"]


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
    ("body", "hidden"),
    [
        ({"model": "t", "prompt": "x", "stream": True}, True),
        ({"model": "t", "prompt": "x", "stream": True, "stream_options": {"include_usage": True}}, False),
        ({"model": "t", "prompt": "x"}, False),
    ],
)
async def test_usage_is_hidden_from_streams_that_did_not_ask_for_it(world, body, hidden):
    some = world()
    some.replicas("a")
    assert some.ask(body=body).hide_usage is hidden


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
    form = some.ask("small", path="/v1/audio/transcriptions", body=b"--x", content_type=b"multipart/form-data")
    assert form.status == 404, "a form may name any model"
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


async def test_held_until_a_replica_appears(world):
    some = world()
    held = some.ask()
    assert isinstance(held, asyncio.Future)
    assert 'manta_router_queue_length{tenant="anonymous"} 1.0' in some.metrics
    some.now += 7
    some.replicas("a")
    assert (await held).replica == "a"
    assert "manta_router_held_seconds_sum 7.0" in some.metrics


@pytest.mark.parametrize(
    ("replicas", "what", "retry_after"), [([], "no_ready_replica", 2), (["a"], "hold_expired", 60)]
)
async def test_held_in_vain(world, replicas, what, retry_after):
    some = world("maxNumSeqs: 1")
    some.replicas(*replicas)
    for _ in replicas:
        some.ask()
        some.ask()
    held = some.ask()
    some.now += 59
    some.decider.tick()
    assert not held.done()
    some.now += 2
    some.decider.tick()
    refused = await held
    assert (refused.status, code(refused), refused.retry_after) == (503, what, retry_after)
    assert not some.decider.holding


@pytest.mark.parametrize(("replicas", "what"), [([], "no_ready_replica"), (["a"], "saturated")])
async def test_nothing_is_held_when_told_so(world, replicas, what):
    some = world("maxNumSeqs: 1, hold: {seconds: 0}")
    some.replicas(*replicas)
    for _ in replicas:
        some.ask()
        some.ask()
    refused = some.ask()
    assert (refused.status, code(refused)) == (503, what)


async def test_held_ones_go_by_turns_and_priority_as_requests_end(world):
    some = world("maxNumSeqs: 1", keys=("small", "other", "urgent"))
    some.replicas("a")
    running = [some.ask("other"), some.ask("other")]
    held = {name: some.ask(name[:-1]) for name in ("other1", "other2", "other3", "small1", "urgent1")}
    order = []
    while held:
        some.end(running.pop(0))
        await asyncio.sleep(0)
        (name,) = (name for name, future in held.items() if future.done())
        running.append(held.pop(name).result())
        order.append(name)
    assert order == ["urgent1", "other1", "small1", "other2", "other3"]


async def test_who_leaves_is_out_of_the_queue_and_its_charge_is_settled(world):
    some = world(keys=("small",))
    held = some.ask("small")
    assert some.picker.limits.running() == {"small": 1}
    held.cancel()
    await asyncio.sleep(0)
    assert not some.decider.holding
    assert some.picker.limits.running() == {"small": 0}
    assert "manta_router_held_left_total 1.0" in some.metrics


async def test_a_full_queue(world):
    some = world("hold: {seconds: 60, queueSize: 2}", keys=("small", "urgent", "other", "more"))
    first, second = some.ask("other"), some.ask("other")
    full = some.ask("other")
    assert (full.status, code(full)) == (503, "queue_full")
    some.now += 1
    third = some.ask("small")
    assert isinstance(third, asyncio.Future)
    pushed = await second
    assert (pushed.status, code(pushed)) == (429, "queue_share_exceeded")
    assert code(some.ask("other")) == "queue_share_exceeded"
    assert isinstance(some.ask("urgent"), asyncio.Future)
    pushed = await third
    assert (pushed.status, code(pushed)) == (503, "queue_full")
    assert not first.done()


async def test_only_what_a_gateway_allows(world):
    some = world()
    some.replicas("a", "b")
    assert {some.ask(subset=("10.0.0.2:8000",)).replica for _ in range(4)} == {"b"}
    assert {code(some.ask(subset=subset)) for subset in ((), ("10.9.9.9:8000",))} == {"no_ready_replica"}
    some.replicas("a", "b", ready="False")
    assert code(some.ask(subset=("10.0.0.2:8000",))) == "no_ready_replica"


async def test_an_end_settles_tokens_and_a_failure_ejects(world):
    some = world(keys=("small",))
    some.replicas("a", "b")
    picked = some.ask("small")
    other = next(address for address in picked.endpoints if address != picked.endpoints[0])
    some.end(picked, attempts=2, upstream=other, prompt_tokens=10, completion_tokens=5, cached_tokens=4)
    assert some.picker.limits.running() == {"small": 0}
    assert some.picker.members.ejected == {picked.replica}
    metrics = some.metrics
    assert 'manta_router_tokens_total{kind="completion",tenant="small"} 5.0' in metrics
    assert "manta_router_retries_total 1.0" in metrics
    assert some.ask("small").replica != picked.replica


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


@pytest.mark.parametrize("keys", [(), ("small",)])
async def test_the_explanation_tells_loads_only_where_nobody_else_is(world, keys):
    some = world(keys=keys)
    some.replicas("a", "b")
    explain = json.loads(some.ask(*keys, x_manta_explain=b"1").explain)
    assert explain["replica"] in "ab"
    assert ("candidates" in explain) is not bool(keys)
    assert "\n" not in dict(encoded(some.ask(*keys, x_manta_explain=b"1")).headers)["x-manta-explain"]


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
