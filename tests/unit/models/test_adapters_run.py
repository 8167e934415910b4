"""The container that fetches adapters: what goes wrong with one is no matter of the others, nor of the container."""

import json
import logging
import os
import shutil
import signal
import sys

import pytest

from manta_runtime.models import adapters_run
from manta_runtime.models.adapters_list import ListFile
from manta_runtime.models.adapters_run import Fetcher, run_adapters
from manta_runtime.models.adapters_told import Told, read_told, told_file
from manta_runtime.models.manifest import Manifest
from manta_runtime.models.names import MANIFEST

HANGS = [sys.executable, "-c", "import signal; signal.pause()"]


class Scene:
    """A Fetcher whose fetches hang until they are ended; adapters are their own keys."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "adapters.json"
        self.fetcher = Fetcher(ListFile(self.file), folder / "told", folder / "secrets", "127.0.0.1", dict(os.environ))

    def want(self, **more):
        """Want these adapters, each with more of an entry."""
        entries = [
            {"name": name, "key": name, "path": str(self.folder / name), "fetch": True, "uri": f"hf://o/{name}"} | entry
            for name, entry in more.items()
        ]
        self.file.write_text(json.dumps({"hash": "-".join(more), "adapters": entries}))

    def fetched(self, name):
        """Put it into the cache, whole."""
        (self.folder / name).mkdir()
        (self.folder / name / MANIFEST).write_text(Manifest(f"hf://o/{name}", "", "c0ffee", ()).text())

    def secret(self, name, value):
        (self.folder / "secrets" / name).mkdir(parents=True)
        (self.folder / "secrets" / name / "HF_TOKEN").write_bytes(value)

    def told(self, name):
        return read_told(told_file(self.folder / "told", name))


@pytest.fixture
async def scene(tmp_path, monkeypatch):
    monkeypatch.setattr(Fetcher, "_command", lambda *_: HANGS)
    found = Scene(tmp_path)
    yield found
    await found.fetcher.close()


async def test_a_secret_that_no_process_can_be_given_fails_its_adapter_alone(scene):
    scene.secret("odd", b"hf_abc\0def")
    scene.want(bad={"secret": "odd"}, good={})
    await scene.fetcher.look()
    assert scene.told("bad").state == "failed"
    assert "the key HF_TOKEN of Secret odd, which is to fetch hf://o/bad, has a NUL byte" in scene.told("bad").message
    assert scene.told("good") == Told("fetching")


async def test_what_nobody_thought_of_fails_its_adapter_alone(scene, monkeypatch):
    def refuse(adapter, environ, _):
        return {"A": "\0"} if adapter.name == "bad" else dict(environ)

    monkeypatch.setattr(adapters_run, "environment_of", refuse)
    scene.want(bad={}, good={})
    await scene.fetcher.look()
    assert scene.told("bad").message.startswith("its fetch cannot begin (ValueError)")
    assert scene.told("good") == Told("fetching")


@pytest.mark.parametrize("path", ["x\0", 5])
async def test_a_list_of_files_that_makes_no_sense_is_fetched_anew(scene, path):
    scene.want(bad={}, good={})
    scene.fetched("good")
    scene.fetched("bad")
    file = {"path": path, "size": 1, "kind": "size", "digest": "", "etag": ""}
    text = (scene.folder / "good" / MANIFEST).read_text()
    (scene.folder / "bad" / MANIFEST).write_text(json.dumps(json.loads(text) | {"uri": "hf://o/bad", "files": [file]}))
    await scene.fetcher.look()
    assert (scene.told("bad"), scene.told("good")) == (Told("fetching"), Told("fetched"))


async def test_one_that_is_removed_from_the_cache_is_fetched_again(scene, caplog):
    scene.fetched("a")
    scene.want(a={})
    await scene.fetcher.look()
    assert scene.told("a") == Told("fetched")
    shutil.rmtree(scene.folder / "a")
    await scene.fetcher.look()
    assert scene.told("a") == Told("fetching")
    assert "adapter a is no longer complete in" in caplog.text


async def test_a_fetch_that_has_brought_all_is_not_called_unwanted(scene, caplog):
    caplog.set_level(logging.INFO)
    scene.want(a={}, b={})
    await scene.fetcher.look()
    scene.fetched("a")
    scene.want(a={})
    await scene.fetcher.look()
    assert "ending the fetch of adapter b: no longer wanted" in caplog.text
    assert "ending the fetch of adapter a" not in caplog.text
    assert scene.told("a") == Told("fetched")


def test_a_bug_ends_no_container(tmp_path, monkeypatch, caplog):
    looks = []

    async def look(_):
        looks.append(1)
        if len(looks) > 1:
            signal.raise_signal(signal.SIGTERM)
        raise ZeroDivisionError

    monkeypatch.setattr(adapters_run, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(adapters_run, "log_to_stderr", lambda _: None)
    monkeypatch.setattr(Fetcher, "look", look)
    assert run_adapters(tmp_path / "list", tmp_path / "told", tmp_path, "127.0.0.1", {}) == 0
    assert len(looks) == 2
    assert "a bug of the look at adapters" in caplog.text
