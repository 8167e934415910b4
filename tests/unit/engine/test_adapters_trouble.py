"""The keeper of adapters when something does not work: nothing else waits for it, and it is tried again."""

import threading
from types import SimpleNamespace

import pytest
from keeper_scene import Scene

from manta_runtime.engine import adapters_keeper


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


async def test_an_unload_that_fails_keeps_nothing_else_from_being_done(scene, caplog, monkeypatch):
    now = 100.0
    monkeypatch.setattr(adapters_keeper, "time", SimpleNamespace(monotonic=lambda: now))
    scene.want(a="one", b="two")
    await scene.turn()
    scene.want(c="three")
    scene.engine.keeps = {"a", "x.manta-trial"}
    scene.engine.adapters["x.manta-trial"] = "/x"
    calls = await scene.turn()
    assert calls == [
        ("unload", "a", None),
        ("unload", "b", None),
        ("unload", "x.manta-trial", None),
        ("load", "c", "three"),
    ]
    assert scene.states() == {"c": ("Loaded", ""), "a": ("Unloading", "vLLM does not unload it: busy")}
    assert caplog.text.count("adapter a cannot be unloaded: busy") == 1
    assert await scene.turn() == []
    now += 11
    scene.engine.keeps = set()
    assert await scene.turn() == [("unload", "a", None), ("unload", "x.manta-trial", None)]
    assert scene.states() == {"c": ("Loaded", "")}
    assert scene.keeper.loads == {"loaded": 3, "failed": 0}


async def test_what_failed_is_tried_again_at_once_when_the_list_changes(scene):
    scene.is_bad("one", "no")
    scene.want(a="one")
    await scene.turn()
    scene.engine.bad.clear()
    assert await scene.turn() == []
    scene.want(a="one", b="two")
    assert await scene.turn() == [("load", "a", "one"), ("load", "b", "two")]


async def test_a_volume_that_hangs_fails_the_comparison_and_nothing_else(scene, monkeypatch):
    goes_on = threading.Event()
    monkeypatch.setattr(adapters_keeper, "_FIT_SECONDS", 0.2)
    monkeypatch.setattr(adapters_keeper, "misfit", lambda path, _: goes_on.wait(60) if path.name == "one" else "")
    scene.keeper._model = scene.folder
    scene.want(a="one", b="two")
    calls = await scene.turn()
    goes_on.set()
    assert calls == [("load", "b", "two")]
    assert "one and the model could not be read within 0 s: see their volumes" in scene.states()["a"][1]
