"""Quantized checkpoints: when one is made again, and what calibrates them."""

import json
from pathlib import Path

import pytest

import checkpoints
from compression.methods import METHODS, by_name
from compression.texts import calibration, measured_by
from tinylm.corpus import read_corpus

CORPUS = read_corpus(Path(checkpoints.__file__).parent / "tinylm/corpus.txt")


def model(folder: Path, inputs: str = "a") -> Path:
    """The stamp of a tiny model: all that is read of it."""
    folder.mkdir(exist_ok=True)
    (folder / checkpoints.MODEL_STAMP).write_text(json.dumps({"inputs": inputs}))
    return folder


def made(folder: Path, key: str) -> Path:
    folder.mkdir()
    (folder / "model.safetensors").write_text("x")
    (folder / checkpoints.STAMP).write_text(json.dumps({"inputs": key, "files": ["model.safetensors"]}))
    return folder


def test_methods_have_names_of_their_own_and_say_what_they_store():
    assert len({each.name for each in METHODS}) == len(METHODS)
    assert {each.stored for each in METHODS} == {"I8", "I32", "F8_E4M3", "2:4"}
    assert all(bool(each.steps) != bool(each.auto_round) for each in METHODS)
    assert [each.name for each in METHODS if not each.slow] == ["int8", "w4a8", "fp8", "w8a16"]


def test_an_unknown_method_is_told_the_known_ones():
    with pytest.raises(ValueError, match="no method 'int3': there are int8, w4a8"):
        by_name("int3")


def test_another_model_or_release_is_another_key(tmp_path):
    first = checkpoints.fingerprint(model(tmp_path / "tiny"), "llmcompressor-1")
    assert checkpoints.fingerprint(tmp_path / "tiny", "llmcompressor-1") == first
    assert checkpoints.fingerprint(tmp_path / "tiny", "llmcompressor-2") != first
    assert checkpoints.fingerprint(model(tmp_path / "tiny", "b"), "llmcompressor-1") != first


def test_no_model_says_how_to_get_one(tmp_path):
    with pytest.raises(checkpoints.NotMade, match="run `make model`"):
        checkpoints.fingerprint(tmp_path, "llmcompressor-1")


def test_no_environment_says_how_to_get_one(tmp_path):
    with pytest.raises(checkpoints.NotMade, match="run `make checkpoints`"):
        checkpoints.release_of(tmp_path)
    (tmp_path / "lib/python3.11/site-packages/llmcompressor-0.14.0.1.dist-info").mkdir(parents=True)
    assert checkpoints.release_of(tmp_path) == "llmcompressor-0.14.0.1"


def test_only_a_whole_checkpoint_of_the_same_is_fresh(tmp_path):
    folder = made(tmp_path / "tiny-int8", "key")
    assert checkpoints.folder_of(tmp_path / "tiny", by_name("int8")) == folder
    assert checkpoints.is_fresh(folder, "key")
    assert not checkpoints.is_fresh(folder, "another")
    (folder / "model.safetensors").unlink()
    assert not checkpoints.is_fresh(folder, "key")


def test_a_failure_shows_the_end_of_the_log(tmp_path, monkeypatch):
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho noise; echo 'NotDone: no layer' >&2; exit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(checkpoints, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(checkpoints, "LOG", tmp_path / "log/made.log")
    with pytest.raises(checkpoints.NotMade, match=r"code 3; the end of .*made\.log:\n  noise\n  NotDone: no layer"):
        checkpoints.make(tmp_path / "tiny", METHODS[:1], "key")


def test_texts_are_the_same_every_time():
    talks = calibration(CORPUS, 64)
    assert talks == calibration(CORPUS, 64)
    assert len(talks) == 64
    assert [message["role"] for message in talks[0]] == ["user", "assistant"] * 3
    assert measured_by(CORPUS) == measured_by(CORPUS)
    assert len(measured_by(CORPUS).split()) > 300
