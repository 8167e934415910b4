"""The text of the tiny model, and the cache around its training (the training itself runs in the e2e tests)."""

import json
import random
from pathlib import Path

import pytest

import tiny_model
from tinylm.corpus import Topic, read_corpus, story_turn, topic_turn, turns

TEXT = Path(tiny_model.__file__).parent / "tinylm/corpus.txt"
CORPUS = read_corpus(TEXT)


def test_corpus_has_every_kind_of_entry() -> None:
    assert len(CORPUS.topics) > 30
    assert len(CORPUS.answers) > 25
    assert CORPUS.capitals["France"].startswith("The capital of France is Paris")
    assert set(CORPUS.story) >= {"opening", "ending", "hero", "friend", "place"}


def test_topics_have_enough_facts() -> None:
    assert [topic.one for topic in CORPUS.topics if len(topic.facts) < 5] == []


@pytest.mark.parametrize(
    ("text", "message"), [("= a | b\n", "has no lines"), ("! what\nline\n", "starts with none of the marks")]
)
def test_bad_text_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "corpus.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_corpus(tmp_path / "corpus.txt")


def test_topic_answer_starts_with_what_it_is() -> None:
    topic = Topic("a pod", "pods", ("A pod is small.", "It runs.", "It ends.", "It waits."))
    question, answer = topic_turn(topic, random.Random(1))
    assert "pod" in question
    assert answer.startswith("A pod is small. ")
    assert answer.count(".") in {3, 4}


def test_story_fills_every_slot_and_names_its_topic() -> None:
    topic = CORPUS.topics[0]
    for seed in range(20):
        question, story = story_turn(CORPUS, topic, random.Random(seed))
        assert "{" not in question + story
        assert story.startswith(f"This is a story about {topic.many}.")


def test_turns_depend_on_the_seed_only() -> None:
    assert turns(CORPUS, random.Random(3)) == turns(CORPUS, random.Random(3))
    assert turns(CORPUS, random.Random(3)) != turns(CORPUS, random.Random(4))


def test_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "tiny"
    with tiny_model.whole_or_nothing(out) as folder:
        (folder / "a").write_text("a")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_interrupt_leaves_the_old_folder(tmp_path: Path) -> None:
    out = tmp_path / "tiny"
    out.mkdir()
    (out / "old").write_text("old")

    def interrupted() -> None:
        with tiny_model.whole_or_nothing(out) as folder:
            (folder / "new").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in out.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def stamped(folder: Path, inputs: str, files: list[str]) -> Path:
    folder.mkdir()
    (folder / tiny_model.STAMP).write_text(json.dumps({"inputs": inputs, "files": files}))
    (folder / "model.safetensors").write_text("")
    return folder


@pytest.mark.parametrize(
    ("inputs", "files", "fresh"),
    [
        ("same", ["model.safetensors"], True),
        ("other", ["model.safetensors"], False),
        ("same", ["model.safetensors", "config.json"], False),
    ],
    ids=["unchanged", "made from another text", "a file is missing"],
)
def test_cache(tmp_path: Path, inputs: str, files: list[str], fresh: bool) -> None:
    assert tiny_model.is_fresh(stamped(tmp_path / "tiny", inputs, files), "same") is fresh


def test_no_folder_is_not_fresh(tmp_path: Path) -> None:
    assert tiny_model.is_fresh(tmp_path / "nowhere", "same") is False


def test_fingerprint_covers_steps() -> None:
    assert tiny_model.fingerprint(1) != tiny_model.fingerprint(2)
