"""What hubs say is asked in the background, once for everybody, and remembered; who waits is woken."""

import asyncio
import time
from collections import Counter
from dataclasses import replace

import pytest
from make import TINY

from manta_operator.controller import facts_hub, facts_hubs
from manta_operator.controller.facts_http import Away, Refused
from manta_operator.controller.facts_hub import Found
from manta_operator.controller.facts_hubs import Hubs
from manta_operator.planning.known import Asked

HUB, MIRROR = "https://hub.example", "https://mirror.example"
MODEL = Asked("hf://org/model", namespace="default")
A, B = ("default", "a"), ("default", "b")
COMMIT = "c0ffee" * 6 + "abcd"


class Network:
    """Answers questions as `says` tells by repository; those that `hold` names wait for `gate`."""

    def __init__(self):
        self.says, self.asked, self.tokens, self.now = {}, Counter(), [], 0
        self.gate = asyncio.Event()
        self.hold = set()

    async def ask(self, _, about, token=""):
        self.asked[about.repository] += 1
        self.tokens.append(token)
        self.now += 1
        try:
            if about.repository in self.hold:
                await self.gate.wait()
            said = self.says.get(about.repository, Found(TINY, COMMIT))
            if isinstance(said, Exception):
                raise said
            return said
        finally:
            self.now -= 1


@pytest.fixture
def network(monkeypatch):
    network = Network()
    monkeypatch.setattr(facts_hub, "ask", network.ask)
    return network


@pytest.fixture
async def hubs(network):
    woken = asyncio.Queue()
    hubs = Hubs(None, [HUB, MIRROR + "/"], woken.put_nowait)
    hubs.woken = woken
    yield hubs
    await hubs.close()


async def until(holds):
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


async def test_the_first_who_asks_gets_the_facts_and_they_are_asked_for_once(hubs, network):
    await asyncio.gather(*(hubs.read(MODEL, key) for key in (A, B) * 20))
    known = hubs.known(MODEL)
    assert (known.facts, known.source) == (TINY, f"{HUB}, org/model at {COMMIT[:12]}")
    assert network.asked == {"org/model": 1}


async def test_who_did_not_wait_is_woken_and_nobody_waits_twice(hubs, network, monkeypatch):
    monkeypatch.setattr(facts_hubs, "PATIENCE_SECONDS", 0.05)
    network.hold.add("org/model")
    await hubs.read(MODEL, A)
    assert hubs.known(MODEL, A).why == "its hub has not answered yet"
    began = time.monotonic()
    for _ in range(100):
        await hubs.read(MODEL, B)
    assert time.monotonic() - began < 1, "each of them waited"
    network.gate.set()
    assert {await hubs.woken.get(), await hubs.woken.get()} == {A, B}
    assert hubs.known(MODEL).facts == TINY


async def test_models_that_hang_do_not_keep_passes_of_others_waiting(hubs, network, monkeypatch):
    monkeypatch.setattr(facts_hubs, "PATIENCE_SECONDS", 0.05)
    network.hold |= {f"org/model-{number}" for number in range(facts_hubs.READS_AT_ONCE)}
    async with asyncio.timeout(60):
        for name in network.hold:
            await hubs.read(replace(MODEL, uri=f"hf://{name}"), A)
        await hubs.read(replace(MODEL, uri="hf://org/other"), B)
    assert network.now == facts_hubs.READS_AT_ONCE


async def test_a_model_that_is_slow_is_no_fault_of_its_hub(hubs, network):
    network.says["org/slow"] = Refused("reading it takes longer than 120 s", passing=True)
    slow = hubs._model(replace(MODEL, uri="hf://org/slow"), A)
    slow.task.cancel()
    assert await hubs._try(slow, 0) == (1, facts_hubs.SOON_SECONDS)
    await hubs.read(MODEL, B)
    assert hubs.known(MODEL).facts == TINY


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Refused("hub answers 401", 401), "private, gated or not there"),
        (Refused("hub answers 403", 403), "licence"),
        (Refused("hub answers 404", 404), "it has no org/model at main"),
        (Refused("hub answers 429", 429, 5.0), "too often"),
        (Refused("config.json is not JSON"), "config.json is not JSON"),
        (Away("hub cannot be reached: no route"), "no route"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_a_refusal_is_why_nothing_is_known(hubs, network, error, words):
    network.says["org/model"] = error
    await hubs.read(MODEL, A)
    assert hubs.known(MODEL).facts is None
    assert words in hubs.known(MODEL).why


async def test_after_a_refusal_it_is_asked_again_and_who_asked_is_woken(hubs, network, monkeypatch):
    monkeypatch.setattr(facts_hubs, "REFUSED_SECONDS", 0.01)
    network.says["org/model"] = Refused("hub answers 401", 401)
    await hubs.read(MODEL, A)
    del network.says["org/model"]
    hubs.known(MODEL, A)
    async with asyncio.timeout(60):
        while hubs.known(MODEL, A).facts is None:
            await hubs.woken.get()


async def test_the_pause_grows_and_has_an_end(hubs, network):
    network.says["org/model"] = Refused("hub answers 500", 500)
    model = hubs._model(MODEL, A)
    model.task.cancel()
    pauses, failures = [], 0
    for _ in range(12):
        failures, pause = await hubs._try(model, failures)
        pauses.append(pause)
    assert pauses[:3] == [60.0, 120.0, 240.0]
    assert pauses[-1] == facts_hubs.LONGEST_SECONDS
    network.says["org/model"] = Refused("hub answers 429", 429, 3000.0)
    assert await hubs._try(model, 0) == (1, 3000.0)


@pytest.mark.parametrize(
    ("revision", "longer"), [(None, False), ("main", False), (COMMIT, True)], ids=["none", "branch", "commit"]
)
async def test_a_commit_is_read_once_and_a_branch_now_and_then(hubs, network, revision, longer):
    model = hubs._model(replace(MODEL, revision=revision), A)
    model.task.cancel()
    failures, pause = await hubs._try(model, 5)
    assert failures == 0
    assert (pause > facts_hubs.AGAIN_SECONDS) == longer


async def test_what_was_read_once_stays_while_the_hub_is_away(hubs, network, monkeypatch):
    monkeypatch.setattr(facts_hubs, "AGAIN_SECONDS", 0.01)
    await hubs.read(MODEL, A)
    network.says["org/model"] = Away("gone")
    before = network.asked["org/model"]
    await until(lambda: network.asked["org/model"] > before)
    assert hubs.known(MODEL).facts == TINY


async def test_a_hub_that_is_away_is_left_alone_whatever_the_model(hubs, network, caplog):
    models = [replace(MODEL, uri=f"hf://org/model-{number}") for number in range(20)]
    network.says |= {f"org/model-{number}": Away("hub cannot be reached") for number in range(20)}
    await asyncio.gather(*(hubs.read(model, A) for model in models))
    assert sum(network.asked.values()) == 1
    assert {hubs.known(model).why for model in models} == {"hub cannot be reached"}
    assert caplog.text.count("cannot be reached") == 1
    await hubs.read(replace(MODEL, endpoint=MIRROR), A)
    assert hubs.known(replace(MODEL, endpoint=MIRROR)).facts == TINY, "the other hub answers"


async def test_only_hubs_that_are_allowed_are_asked(hubs, network):
    elsewhere = replace(MODEL, endpoint="http://169.254.169.254")
    await hubs.read(elsewhere, A)
    assert "http://169.254.169.254 is not among the hubs" in hubs.known(elsewhere, A).why
    assert not network.asked
    await hubs.read(replace(MODEL, endpoint=MIRROR), A)
    assert hubs.known(replace(MODEL, endpoint=MIRROR)).source.startswith(MIRROR)


@pytest.mark.parametrize("uri", ["s3://bucket/model", "pvc://claim/model", "file:///models/x", "hf://only-a-name"])
async def test_what_no_hub_has_is_no_question(hubs, network, uri):
    asked = replace(MODEL, uri=uri)
    await hubs.read(asked, A)
    assert hubs.known(asked, A).facts is None
    assert not network.asked


async def test_a_token_is_read_by_whose_it_is_and_its_answers_are_not_for_others(network):
    async def token_of(namespace, name):
        return f"{namespace}/{name}"

    hubs = Hubs(None, [HUB], lambda _: None, token_of)
    secret = replace(MODEL, namespace="team-a", secret="hub")
    await hubs.read(secret, ("team-a", "x"))
    network.says["org/model"] = Refused("hub answers 401", 401)
    await hubs.read(replace(secret, namespace="team-b"), ("team-b", "x"))
    await hubs.read(MODEL, A)
    assert network.tokens == ["team-a/hub", "team-b/hub", ""]
    assert hubs.known(secret).facts == TINY
    assert hubs.known(replace(secret, namespace="team-b")).facts is None
    assert hubs.known(MODEL).facts is None
    await hubs.close()


async def test_a_secret_that_cannot_be_read_is_why(network):
    async def token_of(namespace, name):
        raise Refused("get Secret default/hub: forbidden")

    hubs = Hubs(None, [HUB], lambda _: None, token_of)
    await hubs.read(replace(MODEL, secret="hub"), A)
    assert hubs.known(replace(MODEL, secret="hub")).why == "get Secret default/hub: forbidden"
    assert not network.asked
    await hubs.close()


async def test_who_reads_no_secrets_says_that_it_asked_without(hubs, network):
    network.says["org/model"] = Refused("hub answers 401", 401)
    asked = replace(MODEL, secret="hub")
    await hubs.read(asked, A)
    assert "without the token of Secret hub" in hubs.known(asked).why


async def test_a_bug_is_logged_and_ends_nothing(hubs, network, caplog):
    network.says["org/model"] = ZeroDivisionError()
    await hubs.read(MODEL, A)
    assert "which is a bug" in hubs.known(MODEL).why
    assert "ZeroDivisionError" in caplog.text


async def test_what_nobody_wants_any_more_is_forgotten(hubs, network, monkeypatch):
    monkeypatch.setattr(facts_hubs, "AGAIN_SECONDS", 0.01)
    await hubs.read(MODEL, A)
    monkeypatch.setattr(facts_hubs, "UNWANTED_SECONDS", 0.0)
    await until(lambda: not hubs._models)


async def test_a_flood_of_models_has_an_end(hubs, network, monkeypatch):
    monkeypatch.setattr(facts_hubs, "MOST", 3)
    network.hold |= {f"org/model-{number}" for number in range(5)}
    monkeypatch.setattr(facts_hubs, "PATIENCE_SECONDS", 0.01)
    for number in range(5):
        await hubs.read(replace(MODEL, uri=f"hf://org/model-{number}"), A)
    assert len(hubs._models) == 3
    assert hubs.known(replace(MODEL, uri="hf://org/model-4"), A).why


async def test_when_there_are_too_many_what_nobody_asks_about_any_more_makes_room(hubs, network, monkeypatch):
    monkeypatch.setattr(facts_hubs, "MOST", 3)
    models = [replace(MODEL, uri=f"hf://org/model-{number}") for number in range(4)]
    for model in models[:3]:
        await hubs.read(model, A)
    hubs._model(models[1], A).wanted -= facts_hubs.EVICTED_SECONDS
    await hubs.read(models[3], A)
    assert [hubs.known(model).facts is not None for model in models] == [True, False, True, True]
