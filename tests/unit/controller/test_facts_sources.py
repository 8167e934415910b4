"""Passes with facts from catalogs and hubs: what is known later informs, and rolls nothing out."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from make import TINY
from one_deployment import KEY, OneDeployment

from manta_operator.controller import metrics
from manta_operator.controller.errors import Forbidden
from manta_operator.controller.facts_http import Refused
from manta_operator.controller.facts_reader import FactsReader
from manta_operator.controller.facts_sources import Sources, _tokens
from manta_operator.facts.extension import Extension
from manta_operator.facts.models import FactsError
from manta_operator.planning.known import Asked, Known

EMPTY = Extension()
KNOWN = Extension(models={"org/model": TINY})
ASKED = Asked("hf://org/model", namespace="default")


class Own:
    """A user's catalog that says what it is told to."""

    where = "ConfigMap manta-system/manta-catalog"
    unread = ""

    def __init__(self, extension=EMPTY):
        self.extension = extension

    async def first(self):
        return None


class Hubs:
    """Hubs that say what they are told to; `asked` counts."""

    def __init__(self, known=None):
        self.says, self.asked = known or Known(why="hub answers 401"), 0

    async def read(self, asked, key):
        self.asked += 1

    def known(self, asked, key=None):
        return self.says if self.asked else Known()


def sources(disk=lambda _: None, own=EMPTY, hubs=None):
    return Sources(FactsReader(disk), Own(own), hubs)


async def test_the_nearest_source_is_believed_and_no_other_is_asked():
    hubs = Hubs(Known(TINY, "hub"))
    assert (await sources(lambda _: TINY, KNOWN, hubs).read(ASKED, KEY)).source == "the checkpoint itself"
    assert (await sources(own=KNOWN, hubs=hubs).read(ASKED, KEY)).source == Own.where
    assert hubs.asked == 0
    assert (await sources(hubs=hubs).read(ASKED, KEY)).source == "hub"
    assert hubs.asked == 1


async def test_without_facts_every_source_says_why():
    known = await sources(hubs=Hubs()).read(ASKED, KEY)
    assert (known.facts, known.why) == (None, "no catalog has it; hub answers 401")


async def test_a_broken_checkpoint_is_not_hidden_by_a_catalog():
    def broken(_):
        raise FactsError("config.json: not JSON")

    known = await sources(broken, KNOWN, Hubs()).read(ASKED, KEY)
    assert (known.facts, known.trouble) == (None, "config.json: not JSON")


async def test_what_is_known_can_be_had_without_a_wait():
    made = sources(lambda _: TINY, EMPTY)
    assert made.known(ASKED).facts is None, "nobody has looked yet"
    await made.read(ASKED, KEY)
    assert made.known(ASKED).facts == TINY
    assert sources(own=KNOWN).known(ASKED).facts.basis == "catalog"


@pytest.fixture
def one():
    one = OneDeployment()
    one.own, one.hubs = Own(), Hubs()
    one.reconciler._sources = Sources(FactsReader(lambda _: None), one.own, one.hubs)
    return one


def told(one):
    status = one.cluster.get("LLMDeployment", *KEY)["status"]
    return status["fit"]["fits"], status["fit"]["message"], status["revision"]


async def test_what_a_catalog_knows_has_a_verdict_but_nobody_has_read_the_checkpoint(one):
    one.own.extension = KNOWN
    await one.settle()
    assert told(one)[0] == "True"
    assert one.condition("ModelAvailable")["reason"] == "NotSeen"


async def test_an_entry_that_comes_later_informs_and_is_no_rollout(one):
    await one.settle()
    fits, message, revision = told(one)
    assert fits == "Unknown"
    assert "no catalog has it; hub answers 401" in message
    [before] = one.groups()
    one.pod(before)
    one.own.extension = KNOWN
    await one.settle()
    assert told(one)[::2] == ("True", revision)
    [after] = one.groups()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]


async def test_an_entry_that_contradicts_what_serves_is_told_and_stops_nothing(one):
    one.change(engine={"maxModelLen": 2000})
    await one.settle()
    one.pod(one.groups()[0])
    one.own.extension = Extension(models={"org/model": replace(TINY, max_positions=100, default_positions=None)})
    await one.settle()
    one.change(replicas=2)
    await one.settle()
    assert len(one.groups()) == 2
    status = one.cluster.get("LLMDeployment", *KEY)["status"]
    [doubt] = [each["message"] for each in status["decisions"] if each["reason"] == "Doubted"]
    assert "maxModelLen" in doubt
    assert one.condition("Planned")["status"] != "False"


async def test_an_entry_that_contradicts_what_never_served_stops_it(one):
    one.change(engine={"maxModelLen": 2000})
    one.own.extension = Extension(models={"org/model": replace(TINY, max_positions=100, default_positions=None)})
    await one.settle()
    assert one.groups() == []
    assert one.condition("Planned")["status"] == "False"


async def test_an_operator_that_starts_again_keeps_the_verdict_until_it_knows_more(one):
    one.own.extension = KNOWN
    await one.settle()
    before = told(one)
    one.own.extension = EMPTY
    await one.settle()
    assert told(one) == before
    assert not one.client.writes


async def test_why_nothing_is_known_follows_what_is_said(one):
    await one.settle()
    one.hubs.says = Known(why="hub answers 429")
    await one.settle()
    assert told(one)[1].endswith("no catalog has it; hub answers 429")


async def test_a_hub_that_answers_later_is_no_rollout_either_and_has_read_the_checkpoint(one):
    await one.settle()
    revision = told(one)[2]
    one.hubs.says = Known(TINY, "hub")
    await one.settle()
    assert told(one)[::2] == ("True", revision)
    assert one.condition("ModelAvailable")["reason"] == "Read"


async def test_a_token_is_taken_from_the_key_that_the_pods_take_it_from():
    async def get(_, __, namespace, name):
        return {"default/good": {"data": {"HF_TOKEN": "czNjcmV0Cg=="}}, "default/empty": {"data": {}}}.get(
            f"{namespace}/{name}"
        )

    token_of = _tokens(SimpleNamespace(get=get))
    assert await token_of("default", "good") == "s3cret"
    for name in ("empty", "absent"):
        with pytest.raises(Refused, match=f"Secret {name} has no key HF_TOKEN"):
            await token_of("default", name)


@pytest.mark.parametrize("value", ["%%%", "YQpi", "/////w=="], ids=["no base64", "two lines", "no text"])
async def test_a_token_that_is_none_is_not_sent(value):
    async def get(*_):
        return {"data": {"HF_TOKEN": value}}

    with pytest.raises(Refused, match="HF_TOKEN"):
        await _tokens(SimpleNamespace(get=get))("default", "s")


async def test_a_secret_that_may_not_be_read_says_so():
    async def get(*_):
        raise Forbidden("get Secret default/s: forbidden")

    with pytest.raises(Refused, match="get Secret default/s: forbidden"):
        await _tokens(SimpleNamespace(get=get))("default", "s")


async def test_an_edit_that_cannot_fit_is_counted_so_although_the_replicas_of_before_do():
    one = OneDeployment(facts=lambda uri: replace(TINY, weights_bytes=2**50) if "huge" in uri else TINY)
    await one.settle()
    assert metrics._fits[KEY] == "True"
    one.change(model={"uri": "file:///models/huge"}, accelerator={"type": "nvidia-l4"})
    await one.run()
    assert one.condition("Planned")["reason"] == "DoesNotFit"
    assert told(one)[0] == "True", "what is there goes on"
    assert metrics._fits[KEY] == "False"
