"""What the launcher adds to --hf-overrides so that scaled positions keep what the model was trained with."""

import json

import pytest

from manta_runtime.engine.rope import complete, complete_flags
from manta_runtime.engine.settings import SettingsError

YARN = {"rope_type": "yarn", "factor": 4.0}
OLD = {"max_position_embeddings": 2048, "rope_theta": 500000.0, "rope_scaling": None}
NEW = {"max_position_embeddings": 2048, "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}
LLAMA_3 = {"max_position_embeddings": 131072, "rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}
SLIDING = {"max_position_embeddings": 32768, "rope_parameters": {"full_attention": {"rope_theta": 1e6}}}


@pytest.mark.parametrize("config", [OLD, NEW], ids=["as Transformers 4 wrote it", "as Transformers 5 does"])
@pytest.mark.parametrize(
    ("scaling", "length"),
    [
        (YARN, 8192),
        ({"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}, 4096),
        ({"rope_type": "linear", "factor": 4.0}, 2048),
        ({"rope_type": "dynamic", "factor": 4.0}, 2048),
    ],
)
def test_the_models_own_base_and_length_are_kept(config, scaling, length):
    assert complete({"rope_parameters": scaling}, config) == {
        "rope_parameters": {"rope_theta": 500000.0, "original_max_position_embeddings": 2048, **scaling},
        "max_position_embeddings": length,
    }


@pytest.mark.parametrize("kind", ["yarn", "linear"])
def test_every_length_that_vllm_could_take_is_the_longer_one(kind):
    # Command R: vLLM takes model_max_length before all others, and of others the least.
    config = {"max_position_embeddings": 8192, "model_max_length": 131072, "seq_length": 4096, "n_positions": None}
    found = complete({"rope_parameters": {"rope_type": kind, "factor": 2.0}}, config)
    assert found.pop("rope_parameters")["original_max_position_embeddings"] == 131072
    keys = ("max_position_embeddings", "model_max_length", "seq_length")
    assert found == dict.fromkeys(keys, 262144 if kind == "yarn" else 131072)


def test_the_least_length_is_what_is_scaled_where_none_goes_first():
    found = complete({"rope_parameters": YARN}, {"max_position_embeddings": 8192, "seq_length": 4096})
    assert (found["max_position_embeddings"], found["seq_length"]) == (16384, 16384)


def test_what_is_said_stays():
    said = {"rope_parameters": YARN | {"rope_theta": 1.0, "original_max_position_embeddings": 100}, "a": {"b": 1}}
    assert complete(said | {"max_position_embeddings": 7}, NEW) == said | {"max_position_embeddings": 7}


def test_a_model_without_a_base_has_that_of_vllm():
    assert complete({"rope_parameters": YARN}, {"max_position_embeddings": 8})["rope_parameters"]["rope_theta"] == 1e4


def test_parts_of_a_head_and_sections_for_images_are_kept():
    config = NEW | {"partial_rotary_factor": 0.5, "rope_scaling": {"type": "mrope", "mrope_section": [1, 2]}}
    del config["rope_parameters"]
    found = complete({"rope_parameters": YARN}, config)["rope_parameters"]
    assert (found["partial_rotary_factor"], found["mrope_section"]) == (0.5, [1, 2])


def test_the_text_of_a_model_for_images_is_what_is_scaled():
    found = complete({"rope_parameters": YARN}, {"text_config": OLD, "max_position_embeddings": 1})
    assert set(found) == {"text_config"}
    assert found["text_config"]["max_position_embeddings"] == 8192
    assert found["text_config"]["rope_parameters"]["rope_theta"] == 500000.0


def test_a_model_that_scales_itself_is_scaled_from_where_it_is_told():
    said = {"rope_parameters": YARN | {"original_max_position_embeddings": 131072}}
    assert complete(said, LLAMA_3)["max_position_embeddings"] == 4 * 131072


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (LLAMA_3, "scales its positions already (llama3): leave spec.engine.ropeScaling out"),
        (SLIDING, "rotary positions of several kinds"),
        ({}, "no max_position_embeddings to scale"),
    ],
)
def test_what_cannot_be_scaled_says_why(config, words):
    with pytest.raises(SettingsError, match="ropeScaling") as error:
        complete({"rope_parameters": YARN}, config)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "flags",
    [
        ("--model=/m",),
        ("--model=/m", "--hf-overrides={}"),
        ("--model=/m", '--hf-overrides={"rope_parameters": {"rope_theta": 1}}'),
        ("--model=/m", "--hf-overrides=nonsense"),
        ("--model=/m", "--hf-overrides=[1]"),
    ],
)
def test_flags_that_scale_nothing_stay_as_they_are(flags, tmp_path):
    assert complete_flags(flags, tmp_path / "nowhere") == flags


def test_flags_are_completed_from_the_models_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(OLD))
    flags = ("--model=/m", f"--hf-overrides={json.dumps({'rope_parameters': YARN})}", "--seed=1")
    before, completed, after = complete_flags(flags, tmp_path)
    assert (before, after) == ("--model=/m", "--seed=1")
    assert json.loads(completed.partition("=")[2])["max_position_embeddings"] == 8192


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_without_a_config_nothing_is_scaled_blindly(text, tmp_path):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(SettingsError, match=r"config\.json"):
        complete_flags((f"--hf-overrides={json.dumps({'rope_parameters': YARN})}",), tmp_path)
