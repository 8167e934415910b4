"""What Manta ships of models and accelerators: every entry can be read, says its source, and is what it says it is."""

import json
import re
from importlib import resources, util
from pathlib import Path
from typing import Any

import pytest

from manta_operator.api.strict_yaml import parse_documents
from manta_operator.facts import catalog
from manta_operator.facts.accelerators import NUMBERS
from manta_operator.facts.accelerators import catalog as accelerators
from manta_operator.facts.catalog import Entry

FILES = sorted(
    (file for file in resources.files("manta_operator.facts").joinpath("catalog").iterdir()), key=lambda file: file.name
)
ENTRIES = catalog.entries()
BY_SHAPE = {
    json.dumps({key: value for key, value in entry.config.items() if key != "quantization_config"}): entry
    for entry in reversed(ENTRIES.values())
}
"""One entry of each shape: quantized variants have the parameters of what they were made from."""
SIZE = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)B(?![a-z])")
ROUNDED = 0.25
"""How far the size in a name may be from the truth: embeddings are often left out."""
NAMED_OTHERWISE = {"Llama-4", "Mixtral"}
"""Their names say what computes a token, or one expert's share."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_files_are_strict(file: Any) -> None:
    [document] = parse_documents(file.read_text("utf-8"))
    assert document


def test_there_are_enough_of_them() -> None:
    assert len(BY_SHAPE) >= 40


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_an_entry_can_be_read(entry: Entry) -> None:
    facts = entry.facts()
    assert facts.basis == "catalog"
    assert facts.max_positions, "nobody would know how long a context it takes"
    assert facts.architecture != "unknown"
    assert catalog.known(f"hf://{entry.name}") == facts


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_an_entry_says_where_it_was_read(entry: Entry) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry.read)
    assert re.match(r"https://github\.com/[\w.-]+/[\w.-]+/blob/[0-9a-f]{40}/|stored-code-index id \d+ ", entry.source)


@pytest.mark.parametrize("entry", BY_SHAPE.values(), ids=lambda entry: entry.name)
def test_parameters_agree_with_the_name(entry: Entry) -> None:
    sizes = SIZE.findall(entry.name)
    if not sizes or entry.parameters is None or any(word in entry.name for word in NAMED_OTHERWISE):
        return
    assert entry.parameters == pytest.approx(float(sizes[0]) * 1e9, rel=ROUNDED)


def test_vllm_has_the_architectures() -> None:
    spec = util.find_spec("vllm")
    if spec is None or spec.origin is None:
        pytest.skip("vLLM is not installed")
    registry = (
        Path(spec.origin).parent / "model_executor/models/registry.py"
    )  # importing it takes a quarter of a minute
    known = set(re.findall(r'"(\w+)": \(', registry.read_text("utf-8")))
    assert {entry.config["architectures"][0] for entry in ENTRIES.values()} - known == set()


@pytest.mark.parametrize("name", sorted(accelerators()))
def test_an_accelerator_is_whole(name: str) -> None:
    found = accelerators()[name]
    if found.is_cpu:
        return
    assert found.memory_bytes
    assert found.bandwidth
    assert found.flops
    assert {kind for kind, _ in found.flops} <= set(NUMBERS)
    assert not found.is_cuda or found.capability
