"""A whole launcher as a container runtime starts it, its log read from a pipe; the simulator stands in for vLLM."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import datetime
from pathlib import Path

import pytest

from manta_runtime.engine.ray_node import free_port

pytestmark = pytest.mark.integration

HOST = "127.0.0.1"
KEY = "sk-very-secret-key"
FIELDS = ["time", "level", "message", "source", "rank", "group", "pod", "phase"]


class Container:
    """A launcher with its log in a pipe, read as it comes."""

    def __init__(self, folder: Path, *flags: str, **environ: str) -> None:
        self.control = free_port(HOST)
        own = ("--rank=0", f"--pod-ip={HOST}", f"--port={free_port(HOST)}", f"--control-port={self.control}")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "manta_runtime.main", "engine", *own, "--drain-seconds=5", "--", *flags],
            env={**os.environ, "POD_NAME": "tiny-1a2b-0-0", "MANTA_ENGINE": "simulate", "TMPDIR": str(folder)}
            | {"MANTA_STATE": str(folder)}
            | environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line)
                self._news.notify()

    def until_said(self, words: str) -> None:
        """Wait until a line has these words."""
        with self._news:
            assert self._news.wait_for(lambda: any(words in line for line in self.lines), 60), self.lines

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{HOST}:{self.control}/{path}", timeout=5) as response:
            return response.read().decode()

    def until_ready(self) -> None:
        """Wait until it is ready: at the first look at vLLM's progress, a moment after it says that tokens come."""
        self.until_said("ready: first token")
        deadline = time.monotonic() + 60
        while "manta_engine_ready 1.0" not in self.get("metrics"):
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.02)

    def end(self) -> int:
        """SIGTERM, and the exit code once the log has ended."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(60)
        self._thread.join(5)
        self.process.stderr.close()
        return code


@pytest.fixture
def start(tmp_path):
    started = []

    def launch(*flags: str, **environ: str) -> Container:
        started.append(Container(tmp_path, *flags, **environ))
        return started[-1]

    yield launch
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.wait()


def test_the_whole_life_is_in_one_log_of_json_lines(start):
    pod = start("--model=org/tiny", "--served-model-name=tiny", "--api-key", KEY)
    pod.until_ready()
    status = json.loads(pod.get("status"))
    assert pod.end() == 0
    found = [json.loads(line) for line in pod.lines]
    assert all(list(each)[: len(FIELDS)] == FIELDS for each in found)
    assert {(each["group"], each["rank"], each["pod"]) for each in found} == {("tiny-1a2b-0", 0, "tiny-1a2b-0-0")}
    times = [datetime.fromisoformat(each["time"]) for each in found]
    assert times == sorted(times)
    phases = list(dict.fromkeys(each["phase"] for each in found))
    assert phases[0] == "start"
    assert phases[-3:] == ["ready", "draining", "done"]
    assert {"manta", "vllm"} == {each["source"] for each in found}
    assert KEY not in "".join(pod.lines)
    assert "--api-key ***" in "".join(pod.lines)
    assert status["phase"] == "ready"
    assert status["restarts"] == 0


def test_text_is_for_people(start):
    pod = start("--model=org/tiny", MANTA_LOG="text")
    pod.until_said("ready: first token")
    assert pod.end() == 0
    assert pod.lines[-1].endswith("manta rank 0: stopped\n")
    assert not any(line.startswith("{") for line in pod.lines)


def test_the_reason_of_a_failure_is_the_last_line_and_the_next_run_knows_it(start):
    failed = start("--model=org/tiny", "--simulate-no-such-flag=1")
    assert failed.wait() != 0
    last = json.loads(failed.lines[-1])
    assert last["level"] == "error"
    assert "vLLM ended by itself with code" in last["message"]
    again = start("--model=org/tiny")
    again.until_said("restart 1 of this pod's engine; the run before: vLLM ended by itself")
    again.until_said("ready: first token")
    assert "manta_engine_restarts_total 1.0" in again.get("metrics")
    assert again.end() == 0
