"""What a rank has of its adapters, and what vLLM says of them."""

import json
from types import SimpleNamespace

import pytest

from manta_runtime.engine.adapters import Copy
from manta_runtime.engine.adapters_client import AdaptersClient
from manta_runtime.engine.adapters_copies import Copies
from manta_runtime.models.adapters_told import Told, told_file, write_told
from manta_runtime.models.manifest import Manifest
from manta_runtime.models.names import MANIFEST


def error(status, message):
    return status, json.dumps({"error": {"message": message, "type": "x", "code": status}})


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
    assert copies.found["k"] == Copy("failed", message=f"{folder} cannot be read: Input/output error")
    weights.unlink()
    weights.touch()
    await copies.look()
    assert copies.found["k"] == Copy("has")
