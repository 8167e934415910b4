"""How the installer runs commands and looks at the machine."""

import sys
from pathlib import Path

import pytest

from installer import machine
from installer.machine import check_disk, check_platform, find_python
from installer.runner import InstallError, Runner, interesting


def test_output_is_returned_and_logged(tmp_path: Path) -> None:
    runner = Runner(tmp_path / "build/install.log")
    assert runner.run([sys.executable, "-c", "print('hello')"], told=False) == "hello\n"
    assert (tmp_path / "build/install.log").read_text().splitlines()[-1] == "hello"


def test_failure_tells_command_code_tail_and_log(tmp_path: Path) -> None:
    script = "print('WARNING: Location \\'file:///x\\' noise'); print('No matching distribution'); raise SystemExit(3)"
    with pytest.raises(InstallError) as failure:
        Runner(tmp_path / "install.log").run([sys.executable, "-c", script], told=False)
    message = str(failure.value)
    assert "exit code 3" in message
    assert "    No matching distribution" in message
    assert "noise" not in message.split("its last lines:")[1]
    assert str(tmp_path / "install.log") in message


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Collecting ray==2.60.0 (from -r x)", "collecting ray"),
        ("  Downloading https://host/a/ray-2.60.0-cp311.whl (70 MB)", "downloading ray-2.60.0-cp311.whl"),
        ("Installing collected packages: a, b, c", "unpacking"),
        ("Requirement already satisfied: pip", ""),
    ],
)
def test_progress_is_short(line: str, said: str) -> None:
    assert interesting(line) == said


def test_this_python_is_found() -> None:
    assert find_python(sys.executable) == sys.executable


@pytest.mark.parametrize("wanted", ["/nowhere/python3.11", "/bin/true"])
def test_no_python_tells_how_to_get_one(wanted: str) -> None:
    with pytest.raises(InstallError, match=r"apt install python3\.11 python3\.11-venv"):
        find_python(wanted)


def test_full_disk_is_refused(tmp_path: Path) -> None:
    check_disk(tmp_path, 0)
    with pytest.raises(InstallError, match=r"1000000 GB are needed .* make room"):
        check_disk(tmp_path, 1_000_000)


def test_missing_lscpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)
    check_platform("dev")
    with pytest.raises(InstallError, match="util-linux"):
        check_platform("all")


@pytest.mark.parametrize(("system", "word"), [("Darwin", "Linux machine or a VM")])
def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch, system: str, word: str) -> None:
    monkeypatch.setattr(machine.platform, "system", lambda: system)
    with pytest.raises(InstallError, match=word):
        check_platform("dev")
