"""Names of modules as checkpoints write them: what real ones match, and what hostile ones can no longer do."""

import re
from typing import Any

import pytest

from manta_operator.facts.anatomy.fields import Uncountable
from manta_operator.facts.anatomy.names import Names
from manta_operator.facts.models import from_config

NAMES = (
    "model.layers.3.self_attn.q_proj",
    "model.layers.31.mlp.gate",
    "model.layers.3.mlp.gate_proj",
    "model.layers.12.mlp.shared_experts.down_proj",
    "backbone.layers.3.mixer.in_proj",
    "lm_head",
)
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1000,
    "num_attention_heads": 4,
    "vocab_size": 256,
}


@pytest.mark.parametrize(
    "expression",
    [
        ".*mlp.gate$",
        ".*self_attn.*",
        r".*mlp\.(gate|up|gate_up|down)_proj.*",
        r".*\.self_attn\.q_proj$",
        r".*layers\.(?:12|3[0-9])\..*",
        r"model\.layers\.\d+\.mlp\.gate",
        ".*lm_head",
        "mlp",
        r"^backbone\..*in_proj$",
        "(?i).*LM_HEAD",
    ],
)
def test_an_expression_matches_what_vllm_matches(expression: str) -> None:
    wanted = [name for name in NAMES if re.match(expression, name)]
    assert [name for name in NAMES if Names([f"re:{expression}"]).last([name]) is not None] == wanted


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ("*self_attn*", NAMES[:1]),
        ("model.layers.*.mlp*", NAMES[1:4]),
        ("mlp.gate", NAMES[1:2]),
        ("layers.3", (NAMES[0], NAMES[2], NAMES[4])),
        ("gate_pro", ()),
    ],
)
def test_a_glob_and_a_run_of_words(entry: str, wanted: tuple[str, ...]) -> None:
    assert tuple(name for name in NAMES if Names([entry]).last([name]) is not None) == wanted


def test_the_last_entry_has_the_last_word() -> None:
    names = Names(["re:.*", "mlp", "*gate", "lm_head"])
    assert [names.last([name]) for name in NAMES] == [0, 2, 1, 1, 0, 3]
    assert Names([]).last(NAMES) is None


@pytest.mark.parametrize("entry", ["re:(.*.*)*zzz", "re:(a+)+$", "re:(.|.)*Z", "*" + "o*" * 200 + "zz"])
def test_what_keeps_re_busy_for_ever_is_answered(entry: str) -> None:
    assert Names([entry]).last(["model.layers.0." + "ao" * 100]) is None


@pytest.mark.parametrize(
    "entry", ["re:.*(?!x)y", "re:(", "re:(.{1000}){1000}", "re:((a{30}){30}){30}", "re:" + "a" * 5000, "re:\ud800"]
)
def test_what_cannot_be_matched_is_not_counted(entry: str) -> None:
    with pytest.raises(Uncountable, match="quantization_config names modules by re:"):
        Names([entry])


@pytest.mark.parametrize(
    "ignored",
    [
        pytest.param([f"re:.*layers[.][0-9]{number}.*x" for number in range(200)], id="each layer, two hundred"),
        pytest.param([f"model.layers.3.{number}*" for number in range(10_000)], id="ten thousand of one layer"),
    ],
)
def test_too_many_expressions_are_not_counted(ignored: list[str]) -> None:
    facts = from_config(CONFIG | {"quantization_config": {"quant_method": "fp8", "ignored_layers": ignored}})
    assert facts.anatomy is None
    assert facts.uncounted is not None
    assert f"{len(ignored)} expressions, too many" in facts.uncounted
