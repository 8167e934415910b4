"""The log is written whole, never holds anybody up, and says what it had to drop."""

import json
import logging
import os
import sys
import threading
import time

import pytest

from manta_runtime.engine import log_output
from manta_runtime.engine.log_lines import Line, Place
from manta_runtime.engine.log_output import LogHandler, Output, choose_format
from manta_runtime.engine.settings import SettingsError

PLACE = Place("tiny-0", 0, "tiny-0-0")


class Reader:
    """Reads a pipe to its end in a thread, when told to begin."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        self.data = b""
        self._begin = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        self._begin.wait()
        while chunk := os.read(self._reading, 65536):
            self.data += chunk
        os.close(self._reading)

    def begin(self) -> None:
        self._begin.set()

    def lines(self) -> list[str]:
        """All lines, after the end of writing."""
        self.begin()
        os.close(self.writing)
        self._thread.join()
        return self.data.decode().splitlines()


@pytest.fixture
def reader():
    return Reader()


def test_text_is_what_the_child_printed(reader):
    output = Output(reader.writing, "text", PLACE, lambda: "load")
    output.tell("vllm", Line("info", "hello"), "(EngineCore pid=1) INFO hello")
    output.tell("vllm", Line("info", ""), "")
    output.close(5)
    assert reader.lines() == ["(EngineCore pid=1) INFO hello", ""]


def test_json_has_the_phase_of_the_moment_and_no_empty_lines(reader):
    phase = "load"
    output = Output(reader.writing, "json", PLACE, lambda: phase)
    output.tell("vllm", Line("info", "one"), "one")
    output.tell("vllm", Line("info", ""), "  ")
    phase = "ready"
    output.tell("ray", Line("error", "two"), "two")
    output.close(5)
    found = [json.loads(line) for line in reader.lines()]
    assert [(each["message"], each["phase"], each["source"]) for each in found] == [
        ("one", "load", "vllm"),
        ("two", "ready", "ray"),
    ]


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_line_shows_a_secret(reader, form):
    output = Output(reader.writing, form, PLACE, lambda: "")
    output.hide("sk-12345678", "")
    output.hide("ray-token-1")
    output.tell("vllm", Line("info", "key sk-12345678, ray-token-1"), "key sk-12345678, ray-token-1")
    output.close(5)
    (line,) = reader.lines()
    assert "key ***, ***" in line
    assert output.last_words.text() == "key ***, ***"


def test_a_reader_that_stands_still_holds_nobody_up_and_is_told_what_it_missed(reader, monkeypatch):
    monkeypatch.setattr(log_output, "MOST_BYTES", 100_000)
    output = Output(reader.writing, "text", PLACE, lambda: "")
    for number in range(1000):  # more than pipe and buffer hold; this returns although nobody reads
        output.tell("vllm", Line("info", ""), f"{number:04} " + "x" * 1000)
    reader.begin()
    output.close(5)
    lines = reader.lines()
    assert 90 < sum(line.endswith("x") for line in lines) < 1000
    following = 0
    for line in lines:  # whole and in order; what is missing is said where it is missing
        first, _, rest = line.partition(" ")
        dropped = rest.startswith("lines of this log were dropped")
        assert dropped or (int(first), rest) == (following, "x" * 1000)
        following += int(first) if dropped else 1
    assert following == 1000


def test_a_descriptor_that_somebody_made_non_blocking_loses_nothing(reader):
    os.set_blocking(reader.writing, False)
    output = Output(reader.writing, "text", PLACE, lambda: "")
    for number in range(1000):
        output.tell("vllm", Line("info", ""), f"{number:04} " + "x" * 1000)
    reader.begin()
    output.close(5)
    assert [int(line[:4]) for line in reader.lines()] == list(range(1000))


def test_who_reads_no_more_holds_up_no_end():
    reading, writing = os.pipe()
    os.close(reading)
    output = Output(writing, "text", PLACE, lambda: "")
    output.tell("vllm", Line("info", "hello"), "hello")
    output.close(5)
    assert not output._thread.is_alive()
    os.close(writing)


@pytest.fixture
def full():
    """A descriptor of a full disk."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


def until_it_failed(output: Output) -> None:
    deadline = time.monotonic() + 5
    while not output._trouble and time.monotonic() < deadline:
        time.sleep(0.01)
    assert output._trouble == "writing it failed (No space left on device)"


def test_after_a_full_disk_the_log_goes_on_and_says_what_it_missed(full, reader, monkeypatch):
    monkeypatch.setattr(log_output, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(log_output, "MOST_BYTES", 100)
    output = Output(full, "text", PLACE, lambda: "")
    output.tell("vllm", Line("info", ""), "one")
    until_it_failed(output)
    for _ in range(20):
        output.tell("vllm", Line("info", ""), "123456789")
    os.dup2(reader.writing, full)
    output.close(5)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, full)  # the reader waits until nobody writes any more
    os.close(null)
    lines = reader.lines()
    assert lines[:-1] == ["one", *["123456789"] * 10]
    assert lines[-1] == "10 lines of this log were dropped: writing it failed (No space left on device)"


def test_a_disk_that_stays_full_holds_up_no_end(full, monkeypatch):
    monkeypatch.setattr(log_output, "_PAUSE_SECONDS", 0.01)
    output = Output(full, "text", PLACE, lambda: "")
    output.tell("vllm", Line("info", ""), "one")
    output.close(0.1)
    output._thread.join(5)
    assert not output._thread.is_alive()
    output.tell("vllm", Line("info", ""), "two")
    assert not output._waiting, "nothing is kept that nobody will write"


@pytest.mark.parametrize("arguments", [("%d", "x"), ("%s %s", "x"), ("no place", "x")])
def test_a_wrong_log_call_of_a_library_is_a_line_and_raises_nothing(reader, arguments):
    output = Output(reader.writing, "json", PLACE, lambda: "ready")
    message, *values = arguments
    # Past the loggers: pytest's own handler raises.
    record = logging.LogRecord("library", logging.WARNING, __file__, 7, message, tuple(values), None)
    LogHandler(output, "rank 0").handle(record)
    output.close(5)
    (line,) = reader.lines()
    found = json.loads(line)
    assert (found["level"], found["logger"]) == ("error", "library")
    assert found["message"].startswith("wrong log call of library at test_log_output.py:7, TypeError: ")
    assert found["message"].endswith(f": {message}")


def test_the_launchers_own_lines_have_the_same_form(reader):
    output = Output(reader.writing, "json", PLACE, lambda: "ready")
    handler = LogHandler(output, "rank 0")
    try:
        int("no")
    except ValueError:
        record = logging.LogRecord("manta.engine", logging.ERROR, "", 1, "lost %d", (3,), sys.exc_info())
    handler.emit(record)
    output.close(5)
    (line,) = reader.lines()
    found = json.loads(line)
    assert found["source"] == "manta"
    assert found["level"] == "error"
    assert found["logger"] == "manta.engine"
    assert found["message"].startswith("lost 3\nTraceback")
    assert found["message"].endswith("invalid literal for int() with base 10: 'no'")


def test_pipes_get_json_and_files_text_unless_asked(tmp_path):
    reading, writing = os.pipe()
    with (tmp_path / "log").open("w") as file:
        assert choose_format("", writing) == "json"
        assert choose_format("text", writing) == "text"
        assert choose_format("", file.fileno()) == "text"
        assert choose_format("json", file.fileno()) == "json"
    os.close(reading)
    os.close(writing)
    assert choose_format("", writing) == "text", "no descriptor at all"
    with pytest.raises(SettingsError, match="MANTA_LOG=xml: use json or text"):
        choose_format("xml", 2)
