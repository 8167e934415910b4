"""Adapters of the simulator: loaded and unloaded as in vLLM, refused in its words."""

import pytest
from lora import adapter_files, write_adapter

from manta_runtime.simulator.adapters import load_adapter, unload_adapter
from manta_runtime.simulator.bodies import models
from manta_runtime.simulator.forms import Refused
from manta_runtime.simulator.settings import parse

FLAGS = ["--model=/m", "--served-model-name=tiny", "--enable-lora", "--max-lora-rank=16"]
SETTINGS = parse(FLAGS, {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"})


def test_it_is_off_unless_it_was_allowed():
    assert SETTINGS.runtime_adapters
    assert not parse(FLAGS, {}).runtime_adapters
    assert not parse(FLAGS, {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "no"}).runtime_adapters


def test_an_adapter_is_listed_replaced_and_removed(tmp_path):
    paths = [str(write_adapter(tmp_path / name, adapter_files(1))) for name in ("one", "two")]
    settings, words = load_adapter({"lora_name": "a", "lora_path": paths[0]}, SETTINGS)
    assert words == "Success: LoRA adapter 'a' added successfully."
    card = models(settings, 0)["data"][-1]
    assert (card["id"], card["root"], card["parent"]) == ("a", paths[0], "tiny")
    with pytest.raises(Refused, match="has already been loaded"):
        load_adapter({"lora_name": "a", "lora_path": paths[1]}, settings)
    settings, _ = load_adapter({"lora_name": "a", "lora_path": paths[1], "load_inplace": True}, settings)
    assert settings.adapters == (("a", paths[1]),)
    settings, words = unload_adapter({"lora_name": "a"}, settings)
    assert words == "Success: LoRA adapter 'a' removed successfully."
    assert settings.adapters == ()
    with pytest.raises(Refused, match="The lora adapter 'a' cannot be found"):
        unload_adapter({"lora_name": "a"}, settings)


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        ({"adapter_config.json": None}, 404, "Loading lora a failed: No adapter found for <path>"),
        ({"adapter_config.json": b"{"}, 500, "add_lora method failed: Expecting property name"),
        ({"adapter_config.json": b"[]"}, 500, "add_lora method failed"),
        (adapter_files(1, rank=32), 500, "LoRA rank 32 is greater than max_lora_rank 16."),
        ({"adapter_model.safetensors": None}, 500, "<path> doesn't contain tensors"),
        ({"adapter_model.safetensors": b"hello"}, 500, "Error while deserializing header: header too small"),
        ({"adapter_model.safetensors": b"hello, world"}, 500, "Error while deserializing header: header too large"),
        ({"adapter_model.safetensors": b"\2" + b"\0" * 7 + b"no"}, 500, "Error while deserializing header: invalid"),
    ],
)
def test_what_vllm_cannot_load_is_not_loaded(files, status, words, tmp_path):
    made = {name: data for name, data in (adapter_files(1) | files).items() if data is not None}
    path = write_adapter(tmp_path / "a", made)
    with pytest.raises(Refused) as refused:
        load_adapter({"lora_name": "a", "lora_path": str(path)}, SETTINGS)
    assert refused.value.status == status
    assert words in refused.value.body["error"]["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "Field required"),
        ({"lora_name": "a"}, "Field required"),
        ({"lora_name": 5, "lora_path": "/a"}, "Input should be a valid string"),
        ({"lora_name": "", "lora_path": "/a"}, "Both 'lora_name' and 'lora_path' must be provided."),
        ({"lora_name": "tiny", "lora_path": "/a"}, "conflicts with a served base model"),
    ],
)
def test_a_request_that_is_none_is_refused(body, words):
    with pytest.raises(Refused, match=words) as refused:
        load_adapter(body, SETTINGS)
    assert refused.value.status == 400


def test_without_lora_there_is_none(tmp_path):
    path = write_adapter(tmp_path / "a", adapter_files(1))
    with pytest.raises(Refused, match=r"LoRA is not enabled\. Use --enable-lora"):
        load_adapter({"lora_name": "a", "lora_path": str(path)}, parse(FLAGS[:2], {}))
