"""Files of a volume change all at once."""

from pathlib import Path

import pytest

from manta_operator.box.kubelet.atomic_files import write_files
from manta_operator.box.kubelet.projections import File, VolumeError


def shown(folder: Path) -> dict[str, bytes]:
    """What a container sees."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith("..")}


def test_files_come_change_and_go(tmp_path):
    folder = tmp_path / "v"
    write_files({"a": File(b"1", 0o440), "b": File(b"2")}, folder)
    assert shown(folder) == {"a": b"1", "b": b"2"}
    assert (folder / "a").stat().st_mode & 0o777 == 0o440
    write_files({"a": File(b"11"), "c": File(b"3")}, folder)
    assert shown(folder) == {"a": b"11", "c": b"3"}
    write_files({}, folder)
    assert shown(folder) == {}
    assert len(list(folder.iterdir())) == 2, "the link, and the one folder that it points to"


def test_all_are_the_old_ones_or_all_the_new_ones(tmp_path):
    """Who holds the folder behind `..data` reads one state; who opens by name gets the newest."""
    write_files({"a": File(b"1"), "b": File(b"1")}, tmp_path)
    assert (tmp_path / "a").readlink() == Path("..data/a")
    before = (tmp_path / "..data").readlink()
    write_files({"a": File(b"2"), "b": File(b"2")}, tmp_path)
    assert (tmp_path / "..data").readlink() != before
    assert not (tmp_path / before).exists()


@pytest.mark.parametrize("again", [{"a": File(b"1", 0o600)}, {"a": File(b"2")}, {"b": File(b"1")}])
def test_nothing_is_written_where_nothing_changed(tmp_path, again):
    files = {"a": File(b"1")}
    write_files(files, tmp_path)
    before = (tmp_path / "..data").readlink()
    write_files(files, tmp_path)
    assert (tmp_path / "..data").readlink() == before
    write_files(again, tmp_path)
    assert (tmp_path / "..data").readlink() != before


@pytest.mark.parametrize("path", ["../a", "a/../../b", "/a", "..data"])
def test_no_path_leads_out(tmp_path, path):
    with pytest.raises(VolumeError, match="leads out of the volume"):
        write_files({path: File(b"")}, tmp_path / "v")
