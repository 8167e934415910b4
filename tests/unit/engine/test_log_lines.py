"""Lines of vLLM and Ray as they were printed, and the line of JSON that each becomes."""

import json
import time

import pytest

from manta_runtime.engine.log_lines import Line, Place, envelope, mask, read_line, secrets_of
from manta_runtime.engine.relay import LONGEST
from manta_runtime.engine.vllm_words import Facts, learn

PLACE = Place(group="tiny-1a2b-0", rank=1, pod="tiny-1a2b-0-1")


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        pytest.param(
            "(EngineCore pid=19356) INFO 11-21 14:06:38 [default_loader.py:501] Loading weights took 0.05 seconds",
            Line("info", "Loading weights took 0.05 seconds", "default_loader.py:501", "EngineCore"),
            id="vllm",
        ),
        pytest.param(
            "\x1b[0;36m(APIServer pid=7)\x1b[0;0m \x1b[33mWARNING\x1b[0m \x1b[90m11-21 14:06:38\x1b[0m "
            "\x1b[90m[vllm.py:725]\x1b[0m Model Runner V2 requires Triton",
            Line("warning", "Model Runner V2 requires Triton", "vllm.py:725", "APIServer"),
            id="vllm in colours",
        ),
        pytest.param(
            "(RayWorkerProc pid=123, ip=10.0.0.2) (Worker_TP1 pid=123) ERROR 11-21 14:06:38 [worker.py:9] no (really)",
            Line("error", "no (really)", "worker.py:9", "Worker_TP1"),
            id="a worker through Ray",
        ),
        pytest.param(
            "(RayWorkerProc pid=123)   wrapper = lookup()",
            Line("info", "  wrapper = lookup()", "", "RayWorkerProc"),
            id="a worker's code through Ray",
        ),
        pytest.param(
            "(RayWorkerProc pid=123) ValueError: no",
            Line("error", "ValueError: no", "", "RayWorkerProc"),
            id="a worker's exception through Ray",
        ),
        pytest.param("(no process) ValueError: no", Line("info", "(no process) ValueError: no"), id="other brackets"),
        pytest.param("INFO 11-21 14:06:28 [api_utils.py:347] ", Line("info", "", "api_utils.py:347"), id="empty vllm"),
        pytest.param(
            "(APIServer pid=7) INFO:     Application startup complete.",
            Line("info", "Application startup complete.", "", "APIServer"),
            id="uvicorn",
        ),
        pytest.param(
            "2026-11-21 14:06:28,123\tWARNING worker.py:1832 -- Connecting to existing Ray cluster",
            Line("warning", "Connecting to existing Ray cluster", "worker.py:1832"),
            id="ray",
        ),
        pytest.param(
            "2026-11-21 14:27:42,703\tSUCC scripts.py:1085 -- Ray runtime started.",
            Line("info", "Ray runtime started.", "scripts.py:1085"),
            id="ray has started",
        ),
        pytest.param(
            "[W1121 14:06:38.384236699 utils.cpp:68] Warning: NUMA binding",
            Line("warning", "Warning: NUMA binding", "utils.cpp:68"),
            id="torch",
        ),
        pytest.param(
            "/x/api_server.py:24: DeprecationWarning: it is deprecated",
            Line("warning", "/x/api_server.py:24: DeprecationWarning: it is deprecated"),
            id="a warning of Python",
        ),
        pytest.param(
            "torch.OutOfMemoryError: CUDA out of memory", Line("error", "torch.OutOfMemoryError: CUDA out of memory"),
            id="an exception",
        ),
        pytest.param("nanobind: leaked 2 instances!", Line("info", "nanobind: leaked 2 instances!"), id="chatter"),
        pytest.param("", Line("info", ""), id="empty"),
    ],
)  # fmt: skip
def test_what_a_line_says(raw, line):
    assert read_line(raw) == line


@pytest.mark.parametrize(
    "message", ["plain", 'with "quotes" and \\', "two\nlines", "\x00\x1b[31m", "Köln 東京 🐟", "lone \udcff surrogate"]
)
def test_every_message_is_one_line_of_json(message):
    written = envelope(PLACE, "load", "vllm", Line("info", message, "core.py:1", "EngineCore"), 1795270773.098)
    assert written.endswith(b"\n")
    assert written.count(b"\n") == 1
    fields = json.loads(written)
    assert fields.pop("message") == message.replace("\udcff", "\\udcff")
    assert fields == {
        "time": "2026-11-21T14:19:33.098000Z",
        "level": "info",
        "source": "vllm",
        "group": "tiny-1a2b-0",
        "rank": 1,
        "pod": "tiny-1a2b-0-1",
        "phase": "load",
        "logger": "core.py:1",
        "process": "EngineCore",
    }


def test_people_find_the_message_first():
    written = envelope(PLACE, "ready", "manta", Line("info", "hello"), 0.0)
    assert written.startswith(b'{"time":"1970-01-01T00:00:00Z","level":"info","message":"hello"')


def test_secrets_are_known_by_their_names_and_never_shown():
    environ = {"HF_TOKEN": "hf_abcdefgh", "AWS_SECRET_ACCESS_KEY": "aws/secret+key", "HOME": "/home/me", "MY_KEY": "k"}
    secrets = secrets_of(environ, ["hf_abcdefghijkl", ""])
    assert secrets == ("hf_abcdefghijkl", "aws/secret+key", "hf_abcdefgh"), "longest first: one may begin another"
    assert mask("a hf_abcdefghijkl b hf_abcdefgh c k", secrets) == "a *** b *** c k"


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        ("(APIServer pid=7) (", "a"),
        ("(", "a pid=1 "),
        ("", "(a pid=1) "),
        ("(a pid=1", "1"),
        ("2026-11-21 14:06:28,123\tWARNING ", "a:1"),
        ("/", "a:1: "),
        ("", "\x1b["),
        ("", "LLM engine (v"),
        ("", "LLM engine (v1) with config: model="),
        ("Using ", "Kernel"),
        ("", "init engine ("),
        ("KV cache size: ", "1,"),
    ],
)
def test_no_line_keeps_the_launcher_from_its_probes(begin, more):
    text = (begin + more * LONGEST)[:LONGEST]
    started = time.thread_time()
    learn(Facts(), read_line(text))
    assert time.thread_time() - started < 1
