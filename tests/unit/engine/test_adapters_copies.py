"""What a rank has of its adapters, and what vLLM says of them."""

import asyncio
import json
import shutil
import threading
from types import SimpleNamespace

import pytest

from manta_runtime.engine import adapters_copies
from manta_runtime.engine.adapters import Copy
from manta_runtime.engine.adapters_client import AdaptersClient
from manta_runtime.engine.adapters_copies import Copies
from manta_runtime.models.adapters_told import Told, told_file, write_told
from manta_runtime.models.manifest import Manifest
from manta_runtime.models.names import MANIFEST


def mounted(folder, **paths):
    """Copies of a rank whose list has these mounted adapters; folders that can be made hold one."""
    for path in paths.values():
        if len(path) < 99:
            (folder / path).mkdir(exist_ok=True)
            (folder / path / "adapter_config.json").touch()
            (folder / path / "adapter_model.safetensors").touch()
    entries = [
        {"name": name, "key": name, "path": str(folder / path), "fetch": False, "uri": "pvc://c"}
        for name, path in paths.items()
    ]
    (folder / "adapters.json").write_text(json.dumps({"hash": "-".join(paths), "adapters": entries}))
    return Copies(SimpleNamespace(adapters=folder / "adapters.json", state_folder=folder, mounts={}))


@pytest.fixture
def hanging(monkeypatch):
    """Lets the folder `slow` hang until the event is set; it is, in the end."""
    goes_on, read = threading.Event(), adapters_copies._read

    def read_late(path, revision):
        if path.name == "slow":
            goes_on.wait(60)
        return read(path, revision)

    monkeypatch.setattr(adapters_copies, "_read", read_late)
    monkeypatch.setattr(adapters_copies, "_PATIENCE_SECONDS", 0.2)
    yield goes_on
    goes_on.set()


def error(status, message):
    return status, json.dumps({"error": {"message": message, "type": "x", "code": status}})


DIVISION = "integer division or modulo by zero"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((0, "none within 300 s"), "vLLM gave no answer: none within 300 s"),
        ((404, '{"detail": "Not Found"}'), '/v1/load_lora_adapter answered 404: {"detail": "Not Found"}'),
        (error(500, "Call to add_lora method failed: x\n  y"), "x y"),
        ((500, "[]"), "/v1/load_lora_adapter answered 500: []"),
        ((200, "Success"), ""),
    ],
)
async def test_vllms_words_are_kept_without_what_says_nothing(answer, words):
    async def ask(*_):
        return answer

    assert await AdaptersClient(SimpleNamespace(ask=ask)).load("a", "/a") == words


@pytest.mark.parametrize(
    "text", ["", "[]", '{"data": 5}', '{"data": []}', '{"data": [{"parent": "x"}]}', '{"data": [1]}']
)
async def test_no_list_of_models_is_no_list_of_adapters(text):
    async def ask(*_):
        return 200, text

    assert await AdaptersClient(SimpleNamespace(ask=ask)).listed() is None


async def test_a_fetched_adapter_is_as_far_as_its_container_tells(tmp_path):
    entry = {"name": "a", "key": "k", "path": str(tmp_path / "k"), "fetch": True, "uri": "hf://o/a"}
    (tmp_path / "adapters.json").write_text(json.dumps({"hash": "x", "adapters": [entry]}))
    copies = Copies(SimpleNamespace(adapters=tmp_path / "adapters.json", state_folder=tmp_path, mounts={}))
    told = told_file(tmp_path / "adapters", "k")
    found = []
    for each in (None, Told("fetching", 1, 9), Told("failed", message="no room"), Told("fetched")):
        if each:
            write_told(told, each)
        await copies.look()
        found.append(copies.found["k"])
    # What is told is complete only when it is there.
    assert found == [
        Copy("missing"),
        Copy("fetching", bytes=1, total=9),
        Copy("failed", message="no room"),
        Copy("fetching"),
    ]
    (tmp_path / "k").mkdir()
    manifest = Manifest("hf://o/a", "", "c0ffee", ())
    (tmp_path / "k" / MANIFEST).write_text(manifest.text())
    await copies.look()
    assert copies.found["k"] == Copy("has", "c0ffee")


async def test_a_volume_that_fails_is_told_before_the_engine_reads_it(tmp_path):
    folder = tmp_path / "one"
    entry = {"name": "a", "key": "k", "path": str(folder), "fetch": False, "uri": "pvc://claim"}
    (tmp_path / "adapters.json").write_text(json.dumps({"hash": "x", "adapters": [entry]}))
    copies = Copies(SimpleNamespace(adapters=tmp_path / "adapters.json", state_folder=tmp_path, mounts={}))
    folder.mkdir()
    (folder / "adapter_config.json").touch()
    weights = folder / "adapter_model.safetensors"
    weights.symlink_to("/proc/self/mem")  # a file whose first byte cannot be read
    await copies.look()
    words = "cannot be read: Input/output error: check the adapter's uri and its volume"
    assert copies.found["k"] == Copy("failed", message=f"{folder} {words}")
    weights.unlink()
    weights.touch()
    await copies.look()
    assert copies.found["k"] == Copy("has")


async def test_a_path_that_cannot_be_read_is_no_matter_of_the_others(tmp_path, monkeypatch):
    copies = mounted(tmp_path, good="good", bad="x" * 300)
    await copies.look()
    assert copies.wanted.hash == "good-bad"
    assert copies.found["good"] == Copy("has")
    assert copies.found["bad"].state == "failed"
    assert "cannot be read: File name too long: check the adapter's uri" in copies.found["bad"].message
    mounted(tmp_path, other="other", bad="x" * 300)
    monkeypatch.setattr(adapters_copies, "_wrong", lambda _: 1 // 0)
    await copies.look()
    assert copies.found["other"] == Copy("failed", message="a bug of the launcher: ZeroDivisionError: " + DIVISION)


async def test_a_volume_that_hangs_is_no_matter_of_the_others_and_is_told(tmp_path, hanging):
    copies = mounted(tmp_path, good="good", slow="slow")
    await copies.look()
    assert copies.found["good"] == Copy("has")
    assert copies.found["slow"].state == "fetching"
    assert "a volume that is slow, or does not answer" in copies.found["slow"].message
    mounted(tmp_path, good="good", slow="slow", new="new")
    await copies.look()
    assert copies.found["new"] == Copy("has")
    hanging.set()
    async with asyncio.timeout(60):
        while copies.found["slow"] != Copy("has"):
            await copies.look()
    mounted(tmp_path, good="good")
    await copies.look()
    assert dict(copies.found) == {"good": Copy("has")}


def test_a_volume_that_hangs_keeps_no_launcher_from_ending(tmp_path, hanging):
    async def fail():
        await mounted(tmp_path, slow="slow").look()
        raise RuntimeError("the engine failed")

    with pytest.raises(RuntimeError, match="the engine failed"):
        asyncio.run(fail())
    assert not hanging.is_set()
    assert [thread for thread in threading.enumerate() if thread.name == "_copy"], "it hangs still"


async def test_a_bug_ends_no_worker_that_looks(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(adapters_copies, "LOOK_SECONDS", 0.01)
    copies = mounted(tmp_path, a="a")
    file, copies._file = copies._file, SimpleNamespace(look=lambda: 1 // 0)
    looking = asyncio.create_task(copies.keep_looking())
    async with asyncio.timeout(60):
        while "a bug of the look at adapters" not in caplog.text:  # noqa: ASYNC110 - a log has no events
            await asyncio.sleep(0.01)
        copies._file = file
        while not copies.found:  # noqa: ASYNC110 - it looks every so often
            await asyncio.sleep(0.01)
    looking.cancel()


async def test_one_that_is_gone_from_the_cache_is_told_of_as_it_is_fetched_again(tmp_path):
    entry = {"name": "a", "key": "k", "path": str(tmp_path / "k"), "fetch": True, "uri": "hf://o/a"}
    (tmp_path / "adapters.json").write_text(json.dumps({"hash": "x", "adapters": [entry]}))
    copies = Copies(SimpleNamespace(adapters=tmp_path / "adapters.json", state_folder=tmp_path, mounts={}))
    found = []
    for commit in ("old", "", "new"):
        if commit:
            (tmp_path / "k").mkdir()
            (tmp_path / "k" / MANIFEST).write_text(Manifest("hf://o/a", "", commit, ()).text())
        await copies.look()
        found.append(copies.found["k"])
        shutil.rmtree(tmp_path / "k", ignore_errors=True)
        write_told(told_file(tmp_path / "adapters", "k"), Told("fetching", 1, 9))
    assert found == [Copy("has", "old"), Copy("fetching", bytes=1, total=9), Copy("has", "new")]
