"""The benchmark of the fit on files of other people: words for numbers, gaps, rows that nobody can read."""

import pytest
from click.testing import CliRunner
from fit import gpus
from fit.main import main
from fit.records import RecordsError, number_of, read
from fit_files import FACTS, SAID, bench, measured, record


def test_files_of_other_people_are_counted_as_far_as_they_go(tmp_path):
    odd = [
        SAID,
        {},
        {"id": "no gpu", "model": SAID["model"]},
        {"id": "no model", "gpu": "H100-80"},
        {"id": "odd types", "model": 7, "gpu": ["H100"], "tp": "8", "kv_cache_tokens": "many", "notes": None},
        {"id": "no facts", "model": "org/nothing", "gpu": "H100-80"},
        {"id": "odd facts", "model": "org/odd", "gpu": "H100-80"},
        {"id": "offloaded", "model": SAID["model"], "gpu": "H100-80", "notes": "cpu_offload_gb=30"},
    ]
    known = {SAID["model"]: {"facts": FACTS}, "org/nothing": {}, "org/odd": {"facts": {"hidden_size": "wide"}}}
    found, said = bench(tmp_path, odd, known)
    assert found["records"] == 8
    assert found["measured"]["kv"] == 1
    assert set(found["not_measured"]) == {
        "line 2",
        "no gpu",
        "no model",
        "odd types",
        "no facts",
        "odd facts",
        "offloaded",
    }
    assert "not measured: offloaded: weights are held in host memory" in said
    assert found["decision_accuracy"] == 1.0


def test_numbers_in_words_are_numbers(tmp_path):
    words = {key: str(value) if isinstance(value, int | float) else value for key, value in SAID.items()}
    plain, _ = bench(tmp_path, [SAID | {"tp": 2}], {SAID["model"]: {"facts": FACTS}})
    spelt, said = bench(tmp_path, [words | {"tp": "2"}], {SAID["model"]: {"facts": FACTS}})
    assert spelt["rows"] == plain["rows"]
    assert spelt["measured"] == {"weights": 1, "kv": 1, "requests": 1, "decisions": 1}
    assert "not read" not in said


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8,192", 8192), ("90 %", 90), ("71.2 GiB", 71.2), ("77.59x", 77.59), (7, 7), ("many", None), (True, None),
        (10**400, None), (float("nan"), None), ("inf", None), ([8], None), (None, None), ("", None),
    ],
)  # fmt: skip
def test_what_is_a_number(text, value):
    assert number_of(text) == value


def test_what_cannot_be_read_is_told(tmp_path):
    odd = SAID | {"tp": "eight", "max_num_seqs": -1, "oom": [], "gpu_memory_utilization": 1e30}
    found, said = bench(tmp_path, [odd], {SAID["model"]: {"facts": FACTS}})
    unread = ['tp: "eight"', "gpu_memory_utilization: 1e+30", "max_num_seqs: -1", "oom: []"]
    assert sorted(found["unread"]["one"]) == sorted(unread)
    assert 'not read: one: tp: "eight"' in said


@pytest.mark.parametrize(
    ("change", "shape"),
    [
        ({"tp": None, "gpu_count": 8}, "tp8 pp1"),
        ({"tp": None, "pp": 2, "gpu_count": "8"}, "tp4 pp2"),
        ({"tp": None, "pp": 4, "gpu_count": 2}, "tp1 pp4"),
        ({"tp": None}, "tp1 pp1"),
        ({"tp": 2, "gpu_count": 8}, "tp2 pp1"),
        ({"tp": None, "gpu": "8x H100-80"}, "tp8 pp1"),
        ({"tp": None, "pp": 2, "gpu": "H100-80 x 4"}, "tp2 pp2"),
    ],
)
def test_ranks_that_are_not_told_are_the_gpus(tmp_path, change, shape):
    assert measured(tmp_path, **change).shape == shape


@pytest.mark.parametrize(("said", "failed"), [("True", True), (1, True), ("false", False), ("0", False), (None, False)])
def test_flags_in_words(tmp_path, said, failed):
    assert record(tmp_path, oom=said).failed is failed


def test_one_bad_row_leaves_the_others_their_figures(tmp_path):
    bad = [SAID | {"id": "long", "max_model_len": 10**12}, SAID | {"id": "wide", "model": "org/wide", "pp": 10**15}]
    bad.append(SAID | {"id": "layers", "model": "org/layers"})
    known = {name: {"facts": FACTS} for name in (SAID["model"], "org/wide")}
    known["org/layers"] = {"facts": FACTS | {"num_hidden_layers": [32], "layer_pattern": "alternating sliding/full"}}
    found, said = bench(tmp_path, [SAID, *bad], known)
    assert (found["records"], found["measured"]["kv"]) == (4, 1)
    assert set(found["not_measured"]) == {"long", "wide", "layers"}
    assert "ValidationError" in found["not_measured"]["long"]
    assert found["broken"] >= 1
    assert f"{found['broken']} records could not be predicted" in said


@pytest.mark.parametrize("total", [0, -1, 1e30, "wide", [], [None], True, {}])
def test_a_memory_that_is_none_is_not_taken(tmp_path, total):
    assert isinstance(gpus.find(record(tmp_path, gpu="Z99"), {"Z99": {"vllm_total_gib": total}}), str)


def test_a_file_that_is_no_text_is_told(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(RecordsError, match=r"records\.jsonl: not UTF-8"):
        read(path)


def test_nothing_measured_is_no_crash(tmp_path):
    found, said = bench(tmp_path, [], {}, {})
    assert found["records"] == 0
    assert found["weights_err_median"] is None
    assert "KV cache, median: not measured" in said


def test_what_is_missing_is_asked_for(tmp_path):
    result = CliRunner().invoke(main, [f"--records={tmp_path}/none.jsonl"])
    assert result.exit_code == 2
    assert "make bench-fit RECORDS=" in result.stderr


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_broken_line_is_told_with_its_number(tmp_path, text):
    path = tmp_path / "records.jsonl"
    path.write_text("{}\n" + text)
    with pytest.raises(RecordsError, match=r"records\.jsonl:2: not "):
        read(path)


def test_figures_are_told_with_and_without_the_catalog(tmp_path):
    known = SAID | {"id": "known", "model": "meta-llama/Llama-3.1-8B-Instruct"}
    found, said = bench(tmp_path, [SAID, known], {SAID["model"]: {"facts": FACTS}})
    assert (found["measured"]["kv"], found["without_catalog"]["measured"]["kv"]) == (2, 1)
    assert found["without_catalog"]["not_measured"] == {"known": "nothing is known of meta-llama/Llama-3.1-8B-Instruct"}
    assert "without the catalog, as for a model that it does not have (weights of 1, KV cache of 1" in said
    assert "KV cache, compute capability 9.0: " in said
