"""What the webhook knows: what is there or comes within its patience, however slow a disk or a hub is."""

import asyncio
import threading
import time

from make import TINY
from webhook_scene import llmdeployment

from manta_operator.controller import webhook_facts
from manta_operator.controller.facts_reader import FactsReader
from manta_operator.controller.facts_sources import Sources
from manta_operator.controller.webhook_facts import Evidences
from manta_operator.facts.models import FactsError

SEEN = llmdeployment(model={"uri": "file:///models/tiny"})


def evidences(read):
    return Evidences(Sources(FactsReader(read)))


async def test_a_checkpoint_that_can_be_seen_is_read():
    found = await evidences(lambda uri: TINY).known(SEEN)
    assert found.facts is not None
    assert found.facts.layers == TINY.layers


async def test_a_checkpoint_that_makes_no_sense_is_said():
    def read(uri):
        raise FactsError("its config.json is no JSON")

    found = await evidences(read).known(SEEN)
    assert (found.facts, found.trouble) == (None, "its config.json is no JSON")


async def test_a_model_of_the_catalog_needs_nobody():
    found = await evidences(lambda uri: None).known(
        llmdeployment(model={"uri": "hf://meta-llama/Llama-3.3-70B-Instruct"})
    )
    assert found.facts is not None
    assert found.facts.basis == "catalog"


async def test_what_nobody_knows_is_said():
    found = await evidences(lambda uri: None).known(llmdeployment(model={"uri": "hf://nobody/knows"}))
    assert found.facts is None
    assert found.why


async def test_no_secret_is_opened_for_who_asks():
    seen = []

    class Watched(Sources):
        async def read(self, asked, key):
            seen.append(asked)
            return await super().read(asked, key)

    asked = Evidences(Watched(FactsReader(lambda uri: None)))
    await asked.known(llmdeployment(model={"uri": "hf://nobody/knows", "credentialsSecret": "token"}))
    assert [(each.uri, each.secret) for each in seen] == [("hf://nobody/knows", None)]


async def test_a_disk_that_hangs_holds_up_nobody(monkeypatch):
    monkeypatch.setattr(webhook_facts, "PATIENCE_SECONDS", 0.05)
    release, begun = threading.Event(), []

    def read(uri):
        begun.append(uri)
        release.wait(60)
        return TINY

    asked = evidences(read)
    began = time.monotonic()
    answers = await asyncio.gather(*(asked.known(SEEN) for _ in range(100)))
    assert time.monotonic() - began < 30
    assert {each.facts for each in answers} == {None}
    assert len(begun) == 1
    release.set()
    async with asyncio.timeout(60):
        while (await asked.known(SEEN)).facts is None:  # noqa: ASYNC110 - the thread tells nobody
            await asyncio.sleep(0.01)
