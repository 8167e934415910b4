"""The termination message is the end of the log in plain words, and goes only where a kubelet has put a file."""

import os
import subprocess
import sys

import pytest

from manta_operator.planning.last_words import last_words
from manta_runtime.engine.last_words import LastWords


def test_it_is_the_end_in_whole_lines():
    words = LastWords()
    for number in range(100):
        words.hear(f"line {number} " + "x" * 90, "info")
    lines = words.text().splitlines()
    assert lines[-1].startswith("line 99 ")
    assert all(line.startswith("line ") for line in lines)
    assert 15 < len(lines) < 25
    assert len(words.text()) <= 2048


def test_one_long_line_leaves_room_for_others():
    words = LastWords()
    words.hear("ValueError: no", "error")
    words.hear("y" * 10_000, "info")
    assert words.text().splitlines()[0] == "ValueError: no"


def test_it_is_written_into_a_file_that_is_there(tmp_path):
    words = LastWords()
    words.hear("vLLM ended", "info")
    file = tmp_path / "termination-log"
    words.leave(file)
    assert not file.exists(), "nobody asked for it"
    file.write_text("something longer, of before")
    words.leave(file)
    assert file.read_text() == "vLLM ended"


def test_a_link_is_not_followed(tmp_path):
    target = tmp_path / "target"
    target.write_text("keep")
    (tmp_path / "link").symlink_to(target)
    words = LastWords()
    words.hear("x", "info")
    words.leave(tmp_path / "link")
    assert target.read_text() == "keep"


def test_the_cause_is_among_them_however_far_above():
    words = LastWords()
    words.hear("(EngineCore pid=9) ERROR 11-21 14:06:38 [core.py:9] ValueError: no kernel for this", "error")
    for number in range(200):
        words.hear(f"  File x.py, line {number}", "info")
    words.hear("RuntimeError: Engine core initialization failed. See root cause above.", "error")
    words.hear("vLLM ended by itself with code 1; its own last words are above", "info")
    lines = words.text().splitlines()
    assert lines[0].endswith("ValueError: no kernel for this")
    assert lines[1].startswith("  File x.py")
    assert lines[-1].startswith("vLLM ended")


def test_a_warning_that_names_an_error_is_no_cause():
    words = LastWords()
    words.hear("WARNING could not raise the limit: OSError: [Errno 24]", "warning")
    for number in range(200):
        words.hear(f"  File x.py, line {number}", "info")
    assert "OSError" not in words.text()


def test_many_long_errors_leave_room_for_the_end():
    words = LastWords()
    for number in range(50):
        words.hear(f"ValueError: {number} " + "é" * 1000, "error")
    for number in range(60):
        words.hear(f"{number} " + "x" * 100, "info")
    words.hear("the end", "info")
    assert len(words.text().encode()) <= 4096
    assert words.text().endswith("the end")


ENGINE = """
import os, sys
from pathlib import Path
from stand_in import settings_of_a_head
from manta_runtime.engine import launcher
from manta_runtime.engine.failure import EngineFailure

async def run(settings, environ, journal):
    hear = journal.listener("vllm")
    hear("(EngineCore pid=9) ERROR 11-21 14:06:38 [core.py:9] ValueError: Failed to find a kernel")
    for number in range(200):
        hear(f"  File x.py, line {number}")
    raise EngineFailure("vLLM ended by itself with code 1; its own last words are above", code=1)

launcher._run = run
times = {"startup_seconds": 10, "drain_seconds": 1}
settings = settings_of_a_head(Path(sys.argv[1]), 1, log_format=sys.argv[2], **times)
sys.exit(launcher.launch(settings, dict(os.environ)))
"""


@pytest.mark.parametrize(("log_format", "times"), [("text", 2), ("json", 1)])
def test_the_end_of_a_log_of_text_tells_the_cause_again(log_format, times, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", ENGINE, str(tmp_path), log_format]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 1, ended.stderr
    log = ended.stdout + ended.stderr
    assert log.count("Failed to find a kernel") == times
    if log_format == "text":
        assert "ValueError: Failed to find a kernel" in last_words(log[-2048:])
