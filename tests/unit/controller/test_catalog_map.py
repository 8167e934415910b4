"""A user's catalog: what the ConfigMap says is in force soon, and what is wrong in it takes nothing else away."""

import asyncio

import pytest
import yaml
from one_deployment import Direct
from small_model import CONFIG

from manta_operator.controller import catalog_map, metrics
from manta_operator.controller.catalog_map import CatalogMap
from manta_operator.controller.errors import Forbidden, Transient

PLACE = ("manta-system", "manta-catalog")
GOOD = {"models.yaml": yaml.safe_dump({"org/model": {"config": CONFIG}})}
HALF = {"models.yaml": yaml.safe_dump({"org/model": {"config": CONFIG}, "org/wrong": {"config": {}}})}


class Scene:
    def __init__(self):
        self.client, self.changes = Direct(), 0
        self.client.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLACE[0]}})
        self.map = CatalogMap(self.client, *PLACE, self._changed)

    def _changed(self):
        self.changes += 1

    def put(self, data):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "data": data}
        if self.client.cluster.find("ConfigMap", *PLACE):
            self.client.cluster.patch("ConfigMap", *PLACE, {"data": dict.fromkeys(GOOD) | data})
        else:
            self.client.cluster.create(body | {"metadata": {"namespace": PLACE[0], "name": PLACE[1]}})


@pytest.fixture
def scene():
    return Scene()


async def test_it_need_not_be_there(scene):
    await scene.map.look()
    assert not scene.map.extension.models
    assert scene.changes == 0


async def test_what_is_added_changed_and_taken_away_is_told_once(scene):
    scene.put(GOOD)
    await scene.map.look()
    await scene.map.look()
    assert list(scene.map.extension.models) == ["org/model"]
    assert scene.changes == 1
    scene.put({"models.yaml": ""})
    await scene.map.look()
    assert (dict(scene.map.extension.models), scene.changes) == ({}, 2)
    scene.put(GOOD)
    await scene.map.look()
    scene.client.cluster.delete("ConfigMap", *PLACE)
    await scene.map.look()
    assert (dict(scene.map.extension.models), scene.changes) == ({}, 4)


async def test_a_change_that_says_the_same_wakes_nobody(scene):
    scene.put(GOOD)
    await scene.map.look()
    scene.client.cluster.patch("ConfigMap", *PLACE, {"metadata": {"labels": {"a": "b"}}})
    await scene.map.look()
    assert scene.changes == 1


async def test_a_wrong_entry_is_told_once_and_the_good_one_is_in_force(scene, caplog):
    scene.put(HALF)
    await scene.map.look()
    scene.client.cluster.patch("ConfigMap", *PLACE, {"metadata": {"labels": {"a": "b"}}})
    await scene.map.look()
    assert list(scene.map.extension.models) == ["org/model"]
    [event] = scene.client.events
    assert event["involvedObject"]["name"] == "manta-catalog"
    assert "org/wrong" in event["message"]
    assert caplog.text.count("org/wrong") == 1
    exposed = metrics.exposition().decode()
    assert "manta_catalog_problems 1.0" in exposed
    assert 'manta_catalog_entries{kind="model"} 1.0' in exposed


async def test_who_does_not_tell_is_silent_but_knows(scene, caplog):
    scene.put(HALF)
    before = exposed()
    other = catalog_map.CatalogMap(scene.client, *PLACE, tells=False)
    await other.look()
    assert list(other.extension.models) == ["org/model"]
    assert (scene.client.events, caplog.text) == ([], "")
    assert exposed() == before


def exposed():
    return [line for line in metrics.exposition().decode().splitlines() if line.startswith("manta_catalog")]


async def test_garbage_is_no_catalog_and_no_end(scene):
    scene.put({"models.yaml": ": : [", "notes.txt": "hello"})
    await scene.map.look()
    assert len(scene.map.extension.problems) == 2


@pytest.mark.parametrize("error", [Forbidden("get ConfigMap: no"), Transient("get ConfigMap: away")], ids=repr)
async def test_what_was_read_last_stays_in_force(scene, caplog, error):
    scene.put(GOOD)
    await scene.map.look()
    get = scene.client.get

    async def refuse(*_):
        raise error

    scene.client.get = refuse
    await scene.map.look()
    await scene.map.look()
    assert list(scene.map.extension.models) == ["org/model"]
    assert caplog.text.count("get ConfigMap") == 1
    scene.client.get = get
    await scene.map.look()
    assert scene.changes == 1


async def test_the_loop_goes_on_after_a_bug_and_the_first_look_is_waited_for(scene, monkeypatch, caplog):
    monkeypatch.setattr(catalog_map, "EVERY_SECONDS", 0.001)
    get, calls = scene.client.get, []

    async def fail_once(*args):
        calls.append(args)
        if len(calls) == 1:
            raise ZeroDivisionError
        return await get(*args)

    scene.client.get = fail_once
    scene.put(GOOD)
    task = asyncio.create_task(scene.map.run())
    await scene.map.first()
    async with asyncio.timeout(60):
        while not scene.changes:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
    task.cancel()
    assert "which is a bug" in caplog.text


async def test_an_api_server_that_is_silent_is_waited_for_a_moment(scene, monkeypatch):
    monkeypatch.setattr(catalog_map, "FIRST_SECONDS", 0.01)
    async with asyncio.timeout(60):
        await scene.map.first()


async def test_a_typo_takes_nothing_out_of_force(scene):
    scene.put(GOOD)
    await scene.map.look()
    scene.put({"models.yaml": ": : ["})
    await scene.map.look()
    assert list(scene.map.extension.models) == ["org/model"]
    assert len(scene.map.extension.problems) == 1


async def test_it_says_so_until_it_was_read_or_was_not_there(scene):
    get = scene.client.get

    async def refuse(*_):
        raise Forbidden("get ConfigMap: no")

    assert "has not been read yet" in scene.map.unread
    scene.client.get = refuse
    await scene.map.look()
    assert scene.map.unread == "get ConfigMap: no"
    scene.client.get = get
    await scene.map.look()
    assert scene.map.unread == ""
    scene.client.get = refuse
    await scene.map.look()
    assert scene.map.unread == ""
