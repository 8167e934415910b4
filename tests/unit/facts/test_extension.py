"""What a user adds to the catalog: good entries are taken, wrong ones are told and take nothing else away."""

import re
from pathlib import Path

import pytest
import yaml

from manta_operator.facts import accelerators, catalog
from manta_operator.facts.extension import extend

CONFIG = "{num_hidden_layers: 2, hidden_size: 64, num_attention_heads: 4}"
WHOLE = (
    "{architectures: [LlamaForCausalLM], model_type: llama, num_hidden_layers: 2, hidden_size: 64, "
    "num_attention_heads: 4, num_key_value_heads: 4, intermediate_size: 128, vocab_size: 100, "
    "max_position_embeddings: 512}"
)
DOCS = Path(__file__).resolve().parents[3] / "docs/catalog.md"


def test_nothing_is_added_by_nothing() -> None:
    added = extend({})
    assert (added.models, added.accelerators, added.problems) == ({}, {}, ())


def test_a_model_is_added_under_all_its_names() -> None:
    added = extend({"models.yaml": f"acme/llm: {{config: {CONFIG}, also: [acme/llm-chat, acme/llm@v2]}}"})
    assert added.problems == ()
    assert set(added.models) == {"acme/llm", "acme/llm-chat", "acme/llm@v2"}
    assert added.models["acme/llm"].layers == 2
    assert added.models["acme/llm"].basis == "catalog"


def test_a_users_model_comes_before_the_one_that_is_shipped() -> None:
    uri = "hf://openai/gpt-oss-20b"
    own = extend({"models.yaml": f"openai/gpt-oss-20b: {{config: {CONFIG}}}"}).models
    shipped = catalog.known(uri)
    assert shipped is not None
    assert shipped.layers == 24
    assert catalog.known(uri, own) == own["openai/gpt-oss-20b"]


@pytest.mark.parametrize(
    ("case", "uri", "layers"),
    [
        ("another revision", "hf://openai/gpt-oss-20b@main", 24),
        ("a slash at the end", "hf://openai/gpt-oss-20b/", 24),
        ("an own revision", "hf://acme/llm@v2", 2),
        ("an unknown model", "hf://openai/gpt-oss", None),
        ("no hub", "s3://openai/gpt-oss-20b", None),
    ],
)
def test_names(case: str, uri: str, layers: int | None) -> None:
    found = catalog.known(uri, extend({"models.yaml": f"acme/llm@v2: {{config: {CONFIG}}}"}).models)
    assert (found and found.layers) == layers, case


def test_prices_are_added_to_what_is_shipped() -> None:
    own = extend({"accelerators.yaml": "nvidia-l4: {perHour: 0.71}"}).accelerators
    found, shipped = accelerators.find("nvidia-l4", extra=own), accelerators.find("nvidia-l4")
    assert found.per_hour == 0.71
    assert shipped.per_hour is None
    assert (found.memory_bytes, found.flops) == (shipped.memory_bytes, shipped.flops)
    assert list(accelerators.catalog(own)) == list(accelerators.catalog())


def test_an_accelerator_of_ones_own() -> None:
    text = (
        "acme-one: {resource: acme.example/npu, memoryGiB: 64, bandwidthGBs: 2000, "
        "teraflops: {int8: 400, bf16: 200}, products: [Acme-One], capability: 9.0, perHour: 0, source: its data sheet}"
    )
    found = accelerators.find("acme-one", extra=extend({"accelerators.yaml": text}).accelerators)
    assert found == accelerators.Accelerator(
        "acme-one", "acme.example/npu", 64 * 2**30, ("Acme-One",), 90, 2e12, (("bf16", 2e14), ("int8", 4e14)), 0.0
    )


@pytest.mark.parametrize(
    ("case", "key", "text", "said"),
    [
        ("an unknown key", "model.yaml", "", "model.yaml: not a key that Manta reads; use models.yaml or accelerators"),
        ("no YAML", "models.yaml", "a: b\n\tc", "models.yaml: not valid YAML: line 2, column 1: .* nothing of models"),
        ("twice", "models.yaml", "a/b: {}\na/b: {}", "line 2, column 1: the key 'a/b' is given twice"),
        ("deeper than anybody writes", "models.yaml", "[" * 9000, "models.yaml: not valid YAML"),
        ("a list", "models.yaml", "[a/b]", "models.yaml: should map names to entries, it is list"),
        ("no name", "models.yaml", f"llm: {{config: {CONFIG}}}", "models.yaml: llm: not a name of a model"),
        ("no entry", "models.yaml", "a/b: 1", "models.yaml: a/b: should be a mapping with config, it is int"),
        ("no config", "models.yaml", "a/b: {source: me}", "models.yaml: a/b: config: missing, or not a mapping"),
        ("a config without layers", "models.yaml", "a/b: {config: {hidden_size: 4}}",
         "models.yaml: a/b: config.json: num_"),
        ("parameters in words", "models.yaml", f"a/b: {{config: {CONFIG}, parameters: 8B}}",
         "models.yaml: a/b: parameters: should be how many"),
        ("parameters of another", "models.yaml", f"a/b: {{config: {WHOLE}, parameters: 8030261248}}",
         "a/b: parameters: there should be 8,030,261,248, but config makes .* check that config is the config.json"),
        ("an unknown field", "models.yaml", f"a/b: {{config: {CONFIG}, license: x}}",
         "models.yaml: a/b: license: not a field of a model; there are also, config"),
        ("no type", "accelerators.yaml", "Acme One: {perHour: 1}", "accelerators.yaml: Acme One: not a type"),
        ("the word for all others", "accelerators.yaml", "other: {perHour: 1}", "accelerators.yaml: other: not a type"),
        ("no mapping", "accelerators.yaml", "nvidia-l4: 1", "accelerators.yaml: nvidia-l4: should be a mapping"),
        ("a typo", "accelerators.yaml", "nvidia-l4: {perhour: 1}",
         "nvidia-l4: perhour: not a field of an accelerator; there are resource, memoryGiB"),
        ("no memory", "accelerators.yaml", "acme: {resource: a.b/c}", "acme: memoryGiB: missing"),
        ("no resource", "accelerators.yaml", "acme: {memoryGiB: 1}", "acme: resource: missing"),
        ("memory in words", "accelerators.yaml", "nvidia-l4: {memoryGiB: 24Gi}",
         "nvidia-l4: memoryGiB: should be a number greater than 0, and no more than 1e15, it is '24Gi'"),
        ("less than nothing", "accelerators.yaml", "nvidia-l4: {perHour: -1}", "perHour: should be a number"),
        ("no number", "accelerators.yaml", "nvidia-l4: {bandwidthGBs: .nan}", "bandwidthGBs: should be a number"),
        ("yes", "accelerators.yaml", "nvidia-l4: {capability: true}", "capability: should be a number"),
        ("numbers of an unknown kind", "accelerators.yaml", "nvidia-l4: {teraflops: {tf32: 1}}",
         "teraflops: should map types of numbers to teraflops; types are bf16"),
        ("one product", "accelerators.yaml", "nvidia-l4: {products: NVIDIA-L4}",
         "products: should be a list of values of the label nvidia.com/gpu.product"),
        ("no resource name", "accelerators.yaml", "nvidia-l4: {resource: gpu}",
         "resource: should be an extended resource"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(case: str, key: str, text: str, said: str) -> None:
    good = {"models.yaml": f"acme/llm: {{config: {CONFIG}}}", "accelerators.yaml": "nvidia-l40s: {perHour: 2}"}
    broken = "YAML" in said or "line" in said or "it is list" in said
    added = extend(good | {key: text if broken else f"{good.get(key, '')}\n{text}"})
    assert len(added.problems) == 1, case
    assert re.search(said, added.problems[0]), added.problems
    assert ("acme/llm" in added.models) == (not (broken and key == "models.yaml"))
    assert "nvidia-l40s" in added.accelerators


@pytest.mark.parametrize(
    ("key", "text", "gone"),
    [
        ("accelerators.yaml", "nvidia-l4: {products: [A]\n acme: {resource", ()),
        ("accelerators.yaml", "[nvidia-l4]", ()),
        ("accelerators.yaml", "nvidia-l4: {prducts: [A]}\nacme: {resource: a.b/c, memoryGiB: 2}", ()),
        ("accelerators.yaml", "nvidia-l4: {prducts: [A]}", ("acme",)),
        ("models.yaml", f"acme/llm: {{config: {CONFIG}, parameters: 8B, also: [acme/chat]}}", ()),
        ("models.yaml", "acme/llm: {config: {}}", ("acme/chat",)),
    ],
)
def test_a_typo_takes_nothing_away(key: str, text: str, gone: tuple[str, ...]) -> None:
    good = {
        "models.yaml": f"acme/llm: {{config: {CONFIG}, also: [acme/chat]}}",
        "accelerators.yaml": "nvidia-l4: {products: [A, B]}\nacme: {resource: a.b/c, memoryGiB: 1}",
    }
    last = extend(good)
    now = extend(good | {key: text}, last)
    assert len(now.problems) == 1
    assert now.models == {name: each for name, each in last.models.items() if name not in gone}
    assert set(now.accelerators) == set(last.accelerators) - set(gone)
    assert now.accelerators["nvidia-l4"] == last.accelerators["nvidia-l4"]
    assert extend({}, now).accelerators == {}


def test_what_is_told_can_be_printed() -> None:
    [problem] = extend({"models.yaml": '"a/\\e[31mb": {config: {}}'}).problems
    assert problem.isprintable()


def test_the_example_of_the_docs() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    [example] = [document for block in blocks for document in yaml.safe_load_all(block) if "data" in document]
    added = extend(example["data"])
    assert added.problems == ()
    assert added.models
    assert all(facts.anatomy is not None and facts.caches for facts in added.models.values())
    assert any(kind.per_hour for kind in added.accelerators.values())
    assert any(kind.type not in accelerators.catalog() for kind in added.accelerators.values())


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + chr(ord(name) - 1)] * 9)}]\n" for name in "bcdefghi"
)
"""Nine lists of nine of the one before: half a billion words in half a kilobyte."""


@pytest.mark.parametrize(
    ("key", "entry"),
    [
        ("models.yaml", "b/m: {config: {a: *i}}"),
        ("models.yaml", "b/m: {also: [*i], config: {}}"),
        ("models.yaml", "b/m: {source: *i, read: *i, config: {}}"),
        ("accelerators.yaml", "acme: {resource: *i, memoryGiB: 1}"),
        ("accelerators.yaml", "acme: {resource: acme.com/npu, memoryGiB: 1.0e+300}"),
        ("accelerators.yaml", "acme: {resource: acme.com/npu, memoryGiB: 1" + "0" * 400 + "}"),
    ],
)
def test_an_entry_that_would_take_for_ever_is_said(key: str, entry: str) -> None:
    found = extend({key: BOMB + entry})
    assert not found.models
    assert not found.accelerators
    assert len(found.problems[-1]) < 1000
    assert {"b/m", "acme"} & set(found.problems[-1].split(": "))


def test_of_many_problems_the_first_are_said() -> None:
    problems = extend({"models.yaml": "".join(f"a{number}: 1\n" for number in range(2000))}).problems
    assert len(problems) == 51
    assert problems[-1] == "and 1950 problems more"
