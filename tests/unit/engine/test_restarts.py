"""How often a pod has started is known where a folder outlives its container, and only there."""

from manta_runtime.engine.restarts import Past, note_end, note_start


def test_each_start_counts_and_knows_the_end_before(tmp_path):
    assert note_start(tmp_path, "tiny-0") == Past(0, "")
    note_end(tmp_path, "tiny-0", "Ray ended with code 1")
    assert note_start(tmp_path, "tiny-0") == Past(1, "Ray ended with code 1")
    assert note_start(tmp_path, "tiny-0") == Past(2, ""), "the run before was killed"


def test_another_pods_file_is_no_past_of_ours(tmp_path):
    note_start(tmp_path, "tiny-0")
    note_end(tmp_path, "tiny-0", "lost")
    assert note_start(tmp_path, "tiny-1") == Past(0, "")


def test_a_broken_file_is_a_fresh_start(tmp_path):
    note_start(tmp_path, "tiny-0")
    (file,) = tmp_path.iterdir()
    for content in ("", "{", "[]", '{"pod": "tiny-0"}', '{"pod": "tiny-0", "restarts": null, "end": ""}'):
        file.write_text(content)
        assert note_start(tmp_path, "tiny-0") == Past(0, "")


def test_without_a_folder_nothing_is_claimed(tmp_path):
    note_end(None, "tiny-0", "lost")
    assert note_start(None, "tiny-0") is None
    assert note_start(tmp_path / "missing", "tiny-0") is None
