"""Looks at engines that are slow, odd, silent, or in doubt."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest

from manta_runtime.engine.adapters import TRIAL
from manta_runtime.router.membership import Members
from manta_runtime.router.picker import http, looks
from manta_runtime.router.picker.engine_client import EngineClient
from manta_runtime.router.picker.http import Answer
from manta_runtime.router.picker.looks import Looks, Seen
from manta_runtime.router.picker.models_list import ModelsList

HOST = "127.1.241.31"
METRICS = Answer(200, b"vllm:num_requests_running{} 3\n")
MODELS = Answer(200, b'{"data": []}')
POD = {
    "metadata": {"name": "a"},
    "status": {"podIP": HOST, "conditions": [{"type": "Ready", "status": "True"}]},
}


class Engine:
    """Answers by path; a path with None hangs. `asked` and `seen` are in the order in which they came."""

    def __init__(self):
        self.answers = {"/metrics": METRICS, "/v1/models": MODELS, "/health": Answer(200)}
        self.asked, self.seen = [], []

    def answer(self, question):
        self.asked.append(question.path)
        found = self.answers[question.path]
        return asyncio.get_running_loop().create_future() if found is None else found

    def count(self, kind):
        return [told[0] for told in self.seen].count(kind)

    @asynccontextmanager
    async def looked_at(self):
        """Follow it as one member; gives the Looks."""
        members = Members(9004)
        members.replace([POD])
        kinds = ("look", "silent", "dead", "models", "back")
        found = Looks(members, Seen(*(lambda *told, kind=kind: self.seen.append((kind, *told)) for kind in kinds)))
        async with await http.serve(self.answer, HOST, 9004, 8):
            found.follow()
            yield found
            await found.close()


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setattr(looks, "PERIOD_SECONDS", 0.01)
    monkeypatch.setattr(looks, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(looks, "EngineClient", partial(EngineClient, timeout=0.02))
    return Engine()


async def until(check):
    async with asyncio.timeout(3):
        while not check():  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.005)


async def test_an_engine_whose_metrics_hang_serves_as_long_as_it_is_healthy(engine):
    engine.answers["/metrics"] = None
    async with engine.looked_at():
        await until(lambda: engine.asked.count("/metrics") > 8)
        assert (engine.count("silent"), engine.count("dead")) == (1, 0)
        engine.answers["/health"] = Answer(503)
        await until(lambda: engine.count("dead"))


async def test_an_engine_that_hangs_is_left_out_after_five_looks(engine):
    engine.answers |= {"/metrics": None, "/health": None, "/v1/models": MODELS}
    async with engine.looked_at():
        await until(lambda: engine.count("dead"))
        before = engine.asked[: engine.asked.index("/health")]
        assert before.count("/metrics") == 5


@pytest.mark.parametrize("odd", [b"+Inf", b"NaN", b"x", b"1" * 5000])
async def test_odd_metrics_end_no_looks(engine, odd):
    engine.answers["/metrics"] = Answer(200, b"vllm:num_requests_running{} " + odd + b"\n")
    async with engine.looked_at():
        await until(lambda: engine.asked.count("/metrics") > 2)
        engine.answers["/metrics"] = METRICS
        await until(lambda: engine.count("look"))


async def test_metrics_without_end_are_not_read_to_it(engine, monkeypatch):
    monkeypatch.setattr(looks, "_MOST_BYTES", 1000)
    engine.answers["/metrics"] = Answer(200, METRICS.body + b"#" * 1000)
    async with engine.looked_at():
        await until(lambda: engine.count("silent"))
        assert (engine.count("look"), engine.count("dead")) == (0, 0), "it serves as long as it is healthy"
        engine.answers["/metrics"] = METRICS
        await until(lambda: engine.count("look"))


async def test_a_bug_ends_no_looks(engine, monkeypatch, caplog):
    monkeypatch.setattr(looks.scrape, "read", lambda _: 1 // 0)
    async with engine.looked_at():
        await until(lambda: engine.asked.count("/metrics") > 2)
    assert "a look at a failed" in caplog.text


async def test_models_are_asked_for_until_they_are_told(engine, monkeypatch):
    monkeypatch.setattr(looks, "_MODELS_EVERY", 1000)
    engine.answers["/v1/models"] = None
    async with engine.looked_at():
        await until(lambda: engine.asked.count("/v1/models") >= 3)
        engine.answers["/v1/models"] = Answer(503)
        await until(lambda: engine.asked.count("/v1/models") >= 5)
        assert engine.count("models") == 0
        engine.answers["/v1/models"] = Answer(404, b"{}")
        await until(lambda: engine.count("models"))
        asked = engine.asked.count("/metrics")
        await until(lambda: engine.asked.count("/metrics") >= asked + 5)
        assert engine.count("models") == 1
    assert ("models", "a", b"") in engine.seen


async def test_a_replica_in_doubt_of_its_models_is_asked_again_at_the_next_look(engine, monkeypatch):
    monkeypatch.setattr(looks, "_MODELS_EVERY", 1000)
    doubts = iter([True, True])
    async with engine.looked_at() as found:
        found._seen = replace(
            found._seen, models=lambda *told: engine.seen.append(("models", *told)) or next(doubts, False)
        )
        await until(lambda: engine.count("models") == 3)
        asked = engine.asked.count("/metrics")
        await until(lambda: engine.asked.count("/metrics") >= asked + 5)
        assert engine.count("models") == 3


def told(*names):
    adapters = [{"id": name, "parent": "t"} for name in names]
    return json.dumps({"data": [{"id": "t"}, *adapters]}).encode()


def test_a_name_is_taken_away_by_two_answers_in_a_row():
    models = ModelsList(("t",), 0)
    models.keep_only(["a"])
    seen = []
    for names in (("x", "y"), ("y",), ("x", "y"), ("y",), (), (), ("z",)):
        adapters = models.learn("a", told(*names))
        assert adapters == models.names - {"t"}
        seen.append((sorted(adapters), models.doubts("a")))
    assert seen == [
        (["x", "y"], False),
        (["x", "y"], True),
        (["x", "y"], False),
        (["x", "y"], True),
        (["y"], True),
        ([], False),
        (["z"], False),
    ]
    models.learn("a", told())
    models.keep_only(["b"])
    models.learn("b", told())
    models.keep_only(["b"])
    assert not models.doubts("a")


def test_an_adapter_on_trial_is_nobodys_to_ask_for():
    models = ModelsList(("t",), 0)
    assert models.learn("a", told("x", f"x{TRIAL}")) == {"x"}
    assert models.names == {"t", "x"}


def test_a_list_of_models_that_is_too_deep_is_none():
    with pytest.raises(ValueError, match="not a list of models"):
        ModelsList(("t",), 0).learn("a", b'{"data":' + b"[" * 5000 + b"]" * 5000 + b"}")


async def test_one_in_doubt_is_looked_at_at_once(engine, monkeypatch):
    monkeypatch.setattr(looks, "PERIOD_SECONDS", 3600.0)
    async with engine.looked_at() as found:
        await until(lambda: engine.count("models"))
        found.soon("a")
        found.soon("of nobody")
        await until(lambda: engine.count("look") == 2)
    async with engine.looked_at() as found:
        await until(lambda: engine.count("models") == 2)
    assert engine.count("dead") == 0
    members = found._members
    members.apply("MODIFIED", POD | {"status": POD["status"] | {"podIP": "127.1.241.32"}})
    found.follow()
    await until(lambda: engine.count("dead"))
    await found.close()
