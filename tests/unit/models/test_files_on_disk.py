"""Parts with their marks, the staging folder, the list of a model, hashes."""

import hashlib
import json
import shutil
import threading

import pytest

from manta_runtime.models.digests import digest_of, is_multipart_etag, safetensors_fault
from manta_runtime.models.failure import FetchError, PermanentError, StoppedError
from manta_runtime.models.files import RemoteFile
from manta_runtime.models.manifest import Manifest, damaged, read_manifest
from manta_runtime.models.parts import Part
from manta_runtime.models.staging import Staging

GO = threading.Event()
FILE = RemoteFile("sub/a.txt", 10)


@pytest.fixture
def staging(tmp_path):
    made = Staging(tmp_path / "KEY", 4)
    made.make()
    return made


def bring(staging, file=FILE, data=b"0123456789"):
    part = Part(staging.parts, file.key, file.size, 4)
    for number, start, end in part.missing():
        part.write(start, data[start:end])
        part.finish(number)
    part.close()
    staging.keep(file)


def test_a_part_knows_what_is_missing_after_a_kill(tmp_path):
    part = Part(tmp_path, "k", 10, 4)
    assert part.missing() == [(0, 0, 4), (1, 4, 8), (2, 8, 10)]
    part.write(8, b"89")
    assert part.finish(2) is False
    part.write(0, b"01")  # not marked: it was not finished
    part.close()
    again = Part(tmp_path, "k", 10, 4)
    assert again.missing() == [(0, 0, 4), (1, 4, 8)]
    assert again.have == 2
    again.write(0, b"0123")
    again.write(4, b"4567")
    assert [again.finish(1), again.finish(0)] == [False, True]
    again.close()
    assert again.path.read_bytes() == b"0123456789"


@pytest.mark.parametrize("harm", ["shorter", "other chunks", "cleared"])
def test_marks_that_fit_no_more_are_not_believed(tmp_path, harm):
    part = Part(tmp_path, "k", 10, 4)
    part.finish(0)
    if harm == "shorter":
        part.path.write_bytes(b"012")
    if harm == "cleared":
        part.clear()
    part.close()
    again = Part(tmp_path, "k", 10, 5 if harm == "other chunks" else 4)
    assert again.have == 0
    again.close()


def test_no_link_is_followed(tmp_path):
    (tmp_path / "k.part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Part(tmp_path, "k", 10, 4)


def test_a_verified_file_is_kept(staging):
    assert not staging.is_done(FILE)
    bring(staging)
    assert staging.is_done(FILE)
    assert (staging.model / "sub/a.txt").read_bytes() == b"0123456789"


def test_a_move_that_was_interrupted_is_finished(staging):
    bring(staging)
    (staging.model / "sub/a.txt").rename(staging.parts / f"{FILE.key}.part")
    assert staging.is_done(FILE)
    assert (staging.model / "sub/a.txt").exists()


def test_a_mark_without_its_file_is_not_believed(staging):
    bring(staging)
    (staging.model / "sub/a.txt").write_bytes(b"short")
    assert not staging.is_done(FILE)
    assert not staging.is_done(FILE)


def test_what_changed_at_the_source_is_forgotten(staging):
    bring(staging)
    changed = RemoteFile("sub/a.txt", 10, etag="new")
    staging.forget_others([changed])
    assert not staging.is_done(changed)
    assert list(staging.parts.iterdir()) == []
    assert not (staging.model / "sub/a.txt").exists()


def test_the_target_appears_complete(staging):
    bring(staging)
    manifest = Manifest("hf://a/b", "", "c0ffee", (FILE,))
    staging.publish(manifest)
    assert read_manifest(staging.to) == manifest
    assert damaged(staging.to, manifest) == []
    assert not staging.root.exists()
    assert staging.check_target("hf://a/b", "") == manifest
    with pytest.raises(PermanentError, match="folder of its own"):
        staging.check_target("hf://a/b", "v2")


def test_a_target_that_somebody_else_completed_is_good(staging):
    manifest = Manifest("hf://a/b", "", "c0ffee", (FILE,))
    for _ in range(2):  # the second does not see that the first is done, as on a network file system without locks
        staging.make()
        bring(staging)
        staging.publish(manifest)
    assert damaged(staging.to, manifest) == []
    assert not staging.root.exists()


def test_a_target_has_its_list_though_somebody_else_began_anew_in_the_same_folder(staging, monkeypatch):
    """Where locks do not reach: between the list and the rename, another one forgets what it does not know."""
    manifest = Manifest("hf://a/b", "", "c0ffee", (FILE,))
    bring(staging)
    monkeypatch.setattr("manta_runtime.models.staging.sync_folder", lambda _: staging.forget_others([FILE]))
    staging.publish(manifest)
    assert staging.check_target("hf://a/b", "") == manifest
    assert damaged(staging.to, manifest) == []


def test_a_target_that_somebody_else_took_apart_is_no_success(staging, monkeypatch):
    manifest = Manifest("hf://a/b", "", "c0ffee", (FILE,))
    bring(staging)
    monkeypatch.setattr(
        "manta_runtime.models.staging.sync_folder", lambda _: (staging.model / FILE.path).unlink(missing_ok=True)
    )
    with pytest.raises(FetchError, match="repairs it"):
        staging.publish(manifest)


@pytest.mark.parametrize(
    ("other", "kind", "words"),
    [
        ("damaged", FetchError, "repairs it"),
        ("foreign", PermanentError, "Move it"),
        ("file", PermanentError, "Move it"),
    ],
)
def test_a_target_that_appeared_and_is_not_the_model_is_no_success(staging, other, kind, words):
    manifest = Manifest("hf://a/b", "", "c0ffee", (FILE,))
    bring(staging)
    staging.publish(manifest)
    (staging.to / FILE.path).unlink()
    if other != "damaged":
        (staging.to / ".manta-model.json").unlink()
    if other == "file":
        shutil.rmtree(staging.to)
        staging.to.write_text("mine")
    staging.make()
    bring(staging)
    with pytest.raises(kind, match=words):
        staging.publish(manifest)
    assert staging.to.exists()


@pytest.mark.parametrize("harm", ["missing", "shorter", "link"])
def test_damage_is_seen(staging, harm):
    bring(staging)
    manifest = Manifest("hf://a/b", "", "c0ffee", (FILE,))
    staging.publish(manifest)
    path = staging.to / FILE.path
    path.unlink()
    if harm == "shorter":
        path.write_bytes(b"012345678")
    if harm == "link":
        path.symlink_to("/etc/hostname")
    assert damaged(staging.to, manifest) == [FILE.path]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "files": [{"x": 1}]}', "\x00"])
def test_a_list_that_cannot_be_read_is_none(tmp_path, text):
    (tmp_path / ".manta-model.json").write_text(text)
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("sha256", hashlib.sha256(b"hello").hexdigest()),
        ("git-sha1", "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"),
        ("md5", "5d41402abc4b2a76b9719d911017c592"),
        ("crc32c", "9a71bb4c"),
    ],
)
def test_digests(tmp_path, kind, expected):
    (tmp_path / "x").write_bytes(b"hello")
    assert digest_of(tmp_path / "x", kind, GO) == expected


def test_hashing_stops(tmp_path):
    (tmp_path / "x").write_bytes(b"hello")
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        digest_of(tmp_path / "x", "md5", stop)


def test_etags_of_parts(tmp_path):
    data, part = bytes(6 * 1024 * 1024), 5 * 1024 * 1024
    (tmp_path / "x").write_bytes(data)
    md5s = b"".join(hashlib.md5(block).digest() for block in (data[:part], data[part:]))
    assert is_multipart_etag(tmp_path / "x", f"{hashlib.md5(md5s).hexdigest()}-2", GO)
    assert not is_multipart_etag(tmp_path / "x", f"{'0' * 32}-2", GO)


HEADER = json.dumps({"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "__metadata__": {"a": "b"}}).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (len(HEADER).to_bytes(8, "little") + HEADER + b"abcd", ""),
        (len(HEADER).to_bytes(8, "little") + HEADER + b"abc", "4 bytes of tensors, the file has 3"),
        (len(HEADER).to_bytes(8, "little") + HEADER + b"abcde", "the file has 5"),
        (b"", "cannot be"),
        (b"\xff" * 100, "cannot be"),
        ((4).to_bytes(8, "little") + b"nope", "no safetensors header"),
        ((2).to_bytes(8, "little") + b"[]", "no safetensors header"),
    ],
    ids=["good", "shorter", "longer", "empty", "huge header", "no JSON", "no object"],
)
def test_safetensors_headers(tmp_path, data, words):
    (tmp_path / "x").write_bytes(data)
    assert words in safetensors_fault(tmp_path / "x")
    assert bool(words) == bool(safetensors_fault(tmp_path / "x"))
