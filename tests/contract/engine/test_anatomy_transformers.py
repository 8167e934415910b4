"""The anatomy counts the parameters that Transformers makes of the same configuration: exactly, family by family."""

import json
from collections.abc import Mapping
from importlib import import_module, util
from typing import Any

import pytest
from anatomy_families import FAMILIES, SIZES, TOWERS

from manta_operator.facts import catalog
from manta_operator.facts.anatomy.config import anatomy
from manta_operator.facts.anatomy.parts import Anatomy
from manta_operator.facts.catalog import Entry

pytestmark = pytest.mark.timeout(600)  # importing torch and a family's module takes long where much else runs
ENTRIES = catalog.entries()
NO_PARAMETERS = (".e_score_correction_bias", "gate.tid2eid")
"""What routers choose by: Transformers keeps these as buffers in most families, and the checkpoint has them."""
UNTOLD = {"moonshotai/Kimi-K3"}
"""Transformers has no class for it, so that nobody has counted it independently."""
STRANGE = {
    "poolside/Laguna-S-2.1-FP8": 0.006,
    "XiaomiMiMo/MiMo-V2-Flash": 0.0025,
}
"""Gates of heads, windowed layers with other heads: not counted, within these shares."""
transformed = pytest.mark.skipif(util.find_spec("transformers") is None, reason="Transformers is not installed")


def described(config: Mapping[str, Any]) -> Anatomy:
    """The anatomy of a configuration as it would stand in a file."""
    found = anatomy(json.loads(json.dumps(config, default=str)))
    assert isinstance(found, Anatomy), found
    return found


def without_buffers(found: Anatomy, buffers: bool) -> int:
    """The parameters, but for what Transformers does not count as such."""
    every = (*found.outside, *(weight for layer in found.layers for weight in layer))
    return sum(weight.parameters for weight in every if not buffers or not weight.name.endswith(NO_PARAMETERS))


def made(loader: str, config: Any) -> Any:
    """The model that Transformers makes, on the device that has no memory."""
    torch, transformers = import_module("torch"), import_module("transformers")
    with torch.device("meta"):
        return getattr(transformers, loader).from_config(config)


def counted(model: Any) -> int:
    """Its parameters, tied ones once."""
    return sum({id(parameter): parameter.numel() for parameter in model.parameters()}.values())


def buffered(model: Any) -> bool:
    """Whether what its routers choose by are buffers."""
    return not any("e_score_correction_bias" in name for name, _ in model.named_parameters())


@transformed
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_the_parameters_that_it_has_in_transformers(family: str) -> None:
    config = import_module("transformers").CONFIG_MAPPING[family](**SIZES | FAMILIES[family])
    model = made("AutoModelForCausalLM", config)
    found = described(config.to_dict())
    assert without_buffers(found, buffered(model)) == counted(model)
    assert len(found.layers) == SIZES["num_hidden_layers"]


@transformed
@pytest.mark.parametrize("family", TOWERS)
def test_a_tower_has_the_parameters_that_it_has_in_transformers(family: str) -> None:
    decoder, tower = TOWERS[family]
    config = import_module("transformers").CONFIG_MAPPING[family](text_config=decoder, vision_config=tower)
    model = made("AutoModelForImageTextToText", config)
    found = described(config.to_dict())
    ends = [weight for weight in found.outside if weight.name in ("embed_tokens", "lm_head", "norm")]
    beside = sum(weight.parameters for weight in found.outside) - sum(weight.parameters for weight in ends)
    names = ("language_model", "lm_head")
    assert beside == sum(each.numel() for name, each in model.named_parameters() if not any(n in name for n in names))


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_an_entry_of_the_catalog_is_counted(entry: Entry) -> None:
    """Its parameters were counted with Transformers on the whole configuration (test_catalog.py)."""
    if entry.parameters is None:
        assert isinstance(anatomy(entry.config), str) or entry.name in UNTOLD
        return
    found = described(entry.config)
    off = min(abs(without_buffers(found, buffers) - entry.parameters) for buffers in (True, False))
    assert off <= STRANGE.get(entry.name, 0.0) * entry.parameters
    assert entry.facts().anatomy is not None, entry.facts().uncounted


def test_equal_layers_are_one_object() -> None:
    """So that their bytes are counted once: a fit has a hundred milliseconds for every shape of a model."""
    for entry in ENTRIES.values():
        found = entry.facts().anatomy
        if found is not None:
            assert len({id(layer) for layer in found.layers}) == len(set(found.layers)) <= 16, entry.name
