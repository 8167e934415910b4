"""What the control port tells of a pod: /status, /facts and /metrics."""

from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from manta_runtime.engine.control import control_server
from manta_runtime.engine.group import Refusal
from manta_runtime.engine.journal import Journal
from manta_runtime.engine.log_lines import Place
from manta_runtime.engine.phases import PHASES
from manta_runtime.engine.readiness import Verdict
from manta_runtime.engine.restarts import Past
from manta_runtime.engine.telling import telling_routes

HOST = "127.0.0.1"
BEFORE = "(EngineCore pid=9) INFO 11-21 14:06:38 "


class Pod:
    """The head of a group of three whose last rank is missing."""

    def readiness(self):
        return Verdict(ready=False, message="ranks [2] have not joined")

    def ranks(self):
        return 2, 1

    def state(self):
        return {}

    def welcome(self, request):
        return Refusal(404, "")


@pytest.fixture
def journal():
    return Journal(Place("tiny-0", 0, "tiny-0-0"), Past(3, "rank 1 was silent"))


async def asked(journal: Journal, path: str) -> str:
    pod = Pod()
    async with (
        control_server(pod, HOST, 0, "", telling_routes(pod, journal)) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://{HOST}:{port}/{path}") as response,
    ):
        assert response.status == 200
        return await response.text() if path == "metrics" else await response.json()


async def metrics_of(journal: Journal) -> dict[str, float]:
    families = text_string_to_metric_families(await asked(journal, "metrics"))
    samples = [sample for family in families for sample in family.samples]
    return {"/".join((each.name, *each.labels.values())): each.value for each in samples}


def vllm_says(journal: Journal, *lines: str) -> None:
    listen = journal.listener("vllm")
    for line in lines:
        listen(BEFORE + line)


async def test_the_phases_are_told_as_vllm_goes_through_them(journal):
    journal.begin("start")
    vllm_says(journal, "[m.py:1] Starting to load model /m...", "[m.py:1] Model loading took 1.5 GiB and 2.5 seconds")
    found = await metrics_of(journal)
    assert {name.split("/")[1] for name in found if name.startswith("manta_engine_phase/")} == set(PHASES)
    assert [name for name, value in found.items() if name.startswith("manta_engine_phase/") and value] == [
        "manta_engine_phase/warmup"
    ]
    assert {name for name in found if "phase_seconds" in name} == {
        "manta_engine_phase_seconds/start",
        "manta_engine_phase_seconds/load",
        "manta_engine_phase_seconds/warmup",
    }
    assert found["manta_engine_step_seconds/model"] == 2.5
    status = await asked(journal, "status")
    assert status["phase"] == "warmup"
    assert [(each["phase"], each["over"]) for each in status["phases"]] == [
        ("start", True),
        ("load", True),
        ("warmup", False),
    ]
    assert (await asked(journal, "facts"))["modelGiB"] == 1.5


async def test_the_group_is_told(journal):
    found = await metrics_of(journal)
    assert found["manta_engine_ready"] == 0
    assert found["manta_engine_ranks_present"] == 2
    assert found["manta_engine_ranks_missing"] == 1
    assert found["manta_engine_restarts_total"] == 3
    status = await asked(journal, "status")
    assert status["message"] == "ranks [2] have not joined"
    assert status["lastEnd"] == "rank 1 was silent"
    assert (status["group"], status["rank"], status["pod"]) == ("tiny-0", 0, "tiny-0-0")


async def test_unknown_restarts_are_not_called_none_at_all():
    journal = Journal(Place("tiny-0", 0, "tiny-0-0"))
    assert "manta_engine_restarts_total" not in await metrics_of(journal)
    assert (await asked(journal, "status"))["restarts"] is None


async def test_stalls_count_once_each(journal):
    for stall in ("", "no progress for 60 s", "no progress for 65 s", "", "no progress for 60 s"):
        journal.note_stall(stall)
    assert (await metrics_of(journal))["manta_engine_stalls_total"] == 2


async def test_a_drain_is_told_with_what_it_cut_off(journal):
    assert "manta_engine_drain_seconds" not in await metrics_of(journal)
    journal.drain_begins()
    journal.drain_looks(3.5, None)
    found = await metrics_of(journal)
    assert "manta_engine_drain_in_flight" not in found, "vLLM did not say"
    journal.drain_looks(60.0, 4)
    journal.drain_cuts_off()
    found = await metrics_of(journal)
    assert found["manta_engine_drains_total"] == 1
    assert found["manta_engine_drain_seconds"] == 60.0
    assert found["manta_engine_drain_in_flight"] == 4
    assert found["manta_engine_drain_cut_off_total"] == 4
    assert found["manta_engine_phase/draining"] == 1


async def test_the_model_is_told_where_it_is_known(journal):
    assert (await asked(journal, "facts"))["modelRevision"] is None
    journal.model = "c0ffee"
    assert (await asked(journal, "facts"))["modelRevision"] == "c0ffee"


def test_a_drain_that_knew_no_number_claims_none(journal, caplog):
    caplog.set_level("INFO", "manta.engine")
    journal.drain_looks(60.0, None)
    journal.drain_cuts_off()
    journal.drain_ends(killed=True)
    assert "drain over after 60.0 s, unknown requests cut off" in caplog.messages


async def test_once_it_serves_nobody_can_talk_it_out_of_what_it_knows(journal):
    journal.begin("start")
    vllm_says(journal, "[k.py:1] GPU KV cache size: 65,536 tokens")
    journal.begin("ready")
    vllm_says(journal, "[k.py:1] GPU KV cache size: 1 tokens", "[m.py:1] Starting to load model x")
    assert journal.facts.kv_cache_tokens == 65536
    assert journal.phase == "ready"


async def test_words_that_cannot_be_read_end_nothing(journal, monkeypatch, caplog):
    def broken(facts, line):
        raise ValueError("could not convert string to float")

    monkeypatch.setattr("manta_runtime.engine.journal.learn", broken)
    journal.begin("start")
    vllm_says(journal, "[m.py:1] Starting to load model x")
    assert journal.phase == "load"
    assert "not understood (could not convert string to float)" in caplog.text


async def test_every_name_is_documented(journal):
    journal.begin("start")
    vllm_says(journal, "[d.py:1] Loading weights took 0.05 seconds")
    journal.drain_looks(1.0, 1)
    names = {name.split("/")[0] for name in await metrics_of(journal)}
    names |= set(await asked(journal, "status")) | set(await asked(journal, "facts")) | set(PHASES)
    documented = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()
    assert [name for name in sorted(names) if f"`{name}`" not in documented and f"`{name}{{" not in documented] == []
