"""The stamp in `.venv`: what is done, and when it is not believed."""

from pathlib import Path

import pytest

from installer.plan import Step
from installer.runner import Runner
from installer.venv import Venv

PIP = Step("pip", "pip", "2 MB", "key-1")


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text("")
    return Venv(tmp_path, Runner(tmp_path / "install.log"))


def test_nothing_is_done_without_a_stamp(venv: Venv) -> None:
    assert venv.done() == {}


def test_steps_add_up(venv: Venv) -> None:
    venv.finish(PIP)
    venv.finish(Step("torch", "torch", "200 MB", "key-2"))
    assert venv.done() == {"pip": "key-1", "torch": "key-2"}
    assert not list(venv.folder.glob("*.part"))


def test_a_broken_stamp_counts_as_none(venv: Venv) -> None:
    (venv.folder / "manta-install.json").write_text("{")
    assert venv.done() == {}


def test_a_moved_folder_starts_over(venv: Venv, tmp_path: Path) -> None:
    venv.finish(PIP)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    venv.folder.rename(moved / ".venv")
    assert Venv(moved, venv.runner).done() == {}


def test_a_lost_interpreter_starts_over(venv: Venv) -> None:
    venv.finish(PIP)
    Path(venv.python).unlink()
    assert venv.done() == {}
