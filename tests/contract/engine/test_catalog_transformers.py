"""The models that Manta ships have as many parameters as Transformers makes of their configs."""

import json
from importlib import import_module, util

import pytest

from manta_operator.facts import catalog
from manta_operator.facts.catalog import Entry

BY_SHAPE = {
    json.dumps({key: value for key, value in entry.config.items() if key != "quantization_config"}): entry
    for entry in reversed(catalog.entries().values())
}
"""One entry of each shape: quantized variants have the parameters of what they were made from."""
CLASSES = {"KimiK25ForConditionalGeneration": "Kimi_K25ForConditionalGeneration"}
"""Where Transformers calls a class otherwise than the checkpoint's config.json does."""
UNCOUNTED = {"DeciLMForCausalLM", "KimiK3ForConditionalGeneration"}
"""Architectures that Transformers has no class of."""
UNTIED = {"mistralai/Mistral-Small-3.1-24B-Instruct-2503"}
"""Nothing is said of tie_word_embeddings, which Transformers 5 takes for true; the checkpoint has a head of its own."""


@pytest.mark.skipif(util.find_spec("transformers") is None, reason="Transformers is not installed")
@pytest.mark.parametrize("entry", BY_SHAPE.values(), ids=lambda entry: entry.name)
def test_parameters_agree_with_transformers(entry: Entry) -> None:
    if entry.config["architectures"][0] in UNCOUNTED:
        assert entry.parameters is None
        return
    assert counted(entry) == pytest.approx(entry.parameters, rel=0.01)


def counted(entry: Entry) -> int:
    """How many parameters Transformers makes of the config, on the device that has no memory."""
    torch, transformers = import_module("torch"), import_module("transformers")
    name = entry.config["architectures"][0]
    model_class = getattr(transformers, CLASSES.get(name, name))
    untied = {"tie_word_embeddings": False} if entry.name in UNTIED else {}
    said = {key: value for key, value in entry.config.items() if key not in ("architectures", "quantization_config")}
    with torch.device("meta"):
        model = model_class(model_class.config_class.from_dict(said | untied))
    model.tie_weights()
    return sum(parameter.numel() for parameter in model.parameters())
