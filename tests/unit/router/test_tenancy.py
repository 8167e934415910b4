"""Keys, tenants and limits in the picker as it is put together: what a client sees, and what a change does to it."""

import hashlib
import json

import pytest

from manta_operator.api.fields import TENANT_PATTERN
from manta_runtime.router.asking import PICK_PREFIX
from manta_runtime.router.config import parse
from manta_runtime.router.picker.completions import End
from manta_runtime.router.picker.decision import Picked, Refused
from manta_runtime.router.picker.http import Question
from manta_runtime.router.picker.picker import Picker
from manta_runtime.router.picker.tenants import NAME

CONFIG = "{deployment: t, namespace: ns, servedNames: [t, lora], selector: a=b, auth: true, hold: {seconds: 0}}"


class World:
    """A picker with one replica, a Secret and a file of tenants."""

    def __init__(self, folder, monkeypatch):
        self.keys, self.tenants = folder / "keys", folder / "tenants.yaml"
        self.keys.mkdir()
        config = parse(CONFIG).model_copy(update={"keys_dir": self.keys, "tenants_file": self.tenants})
        self.picker = Picker(config, folder)
        monkeypatch.setattr(self.picker.looks, "follow", lambda: None)
        self.key("ann", "a")
        self.key("bob", "b")
        ready = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
        metadata = {"name": "t-1-0", "namespace": "ns", "uid": "u", "labels": {}}
        self.picker.members.replace([{"metadata": metadata, "status": ready, "spec": {}}])
        self.picker._pods_changed()
        self.count = 0

    def key(self, tenant, *keys):
        (self.keys / tenant).write_text("".join(f"sha256:{hashlib.sha256(k.encode()).hexdigest()}\n" for k in keys))
        self.refresh()

    def limit(self, **limits):
        self.tenants.write_text(json.dumps({"tenants": [{"name": "ann", **limits}]}))
        self.refresh()

    def refresh(self):
        for refresh in self.picker.refreshers():
            refresh()

    def ask(self, key="a", model="t", **fields):
        self.count += 1
        headers = {b"x-request-id": b"r%d" % self.count, b"content-type": b"application/json"}
        if key:
            headers[b"authorization"] = b"Bearer " + key.encode()
        body = {"model": model, "messages": [{"role": "user", "content": "x" * 400}], **fields}
        path = f"{PICK_PREFIX}/v1/chat/completions"
        return self.picker.decider.decide(Question("POST", path, headers, json.dumps(body).encode()))

    def end(self, number, **fields):
        self.picker.decider.ended(End(id=f"r{number}", status=200, **fields))


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


def code(refused):
    assert isinstance(refused, Refused), refused
    return refused.status, json.loads(refused.body)["error"]["code"]


def test_a_key_gives_its_tenant_and_no_key_a_refusal(world):
    assert [world.ask("a").tenant, world.ask("b").tenant] == ["ann", "bob"]
    for key in ("", "c"):
        refused = world.ask(key)
        assert code(refused) == (401, "invalid_api_key")
        assert dict(refused.headers) == {"www-authenticate": "Bearer"}


def test_a_key_that_is_revoked_amid_a_stream_refuses_the_next_request_and_settles_this_one(world):
    world.limit(tokensPerMinute=10_000)
    assert isinstance(world.ask("a", stream=True), Picked)
    world.key("ann", "another")
    assert code(world.ask("a")) == (401, "invalid_api_key")
    assert world.ask("another").tenant == "ann"
    assert world.picker.limits.running() == {"ann": 2}
    world.end(1, prompt_tokens=100, completion_tokens=50)
    assert world.picker.limits.running() == {"ann": 1}


def test_models_of_a_tenant(world):
    world.limit(models=["lora"])
    assert isinstance(world.ask("a", model="lora"), Picked)
    assert code(world.ask("a", model="t")) == (404, "model_not_found")
    assert isinstance(world.ask("b", model="t"), Picked)


def test_limits_of_a_tenant_change_while_it_works(world):
    world.limit(concurrency=1)
    assert isinstance(world.ask("a"), Picked)
    refused = world.ask("a")
    assert code(refused) == (429, "rate_limit_exceeded")
    assert refused.retry_after == 1
    assert isinstance(world.ask("b"), Picked), "others are not concerned"
    world.limit(concurrency=2)
    assert isinstance(world.ask("a"), Picked)
    world.end(1)
    world.limit(requestsPerMinute=2)
    refused = world.ask("a")
    assert code(refused) == (429, "rate_limit_exceeded")
    assert 59 <= refused.retry_after <= 61


def test_tokens_are_those_of_usage_in_the_end(world):
    world.limit(tokensPerMinute=700)
    assert isinstance(world.ask("a", max_tokens=400), Picked)
    assert code(world.ask("a", max_tokens=400)) == (429, "rate_limit_exceeded")
    world.end(1, prompt_tokens=90, completion_tokens=10)
    assert isinstance(world.ask("a", max_tokens=400), Picked)


def test_the_operator_and_the_router_mean_the_same_names():
    assert NAME == TENANT_PATTERN
