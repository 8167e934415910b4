"""What a fetch tells: progress, the log without secrets, what a disk's errors mean, who holds the lock."""

import errno
import json
import os
import subprocess
import sys
import threading

import pytest

from manta_runtime.models.disk import check_room, explain, gigabytes
from manta_runtime.models.failure import FetchError, PermanentError, StoppedError
from manta_runtime.models.lock import locked
from manta_runtime.models.progress import Progress, as_json


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_progress_counts_only_what_this_run_brought():
    clock = Clock()
    progress = Progress(clock)
    progress.enter("fetching")
    progress.plan(total=1000, have=500)
    clock.now += 10
    progress.add("a", 100)
    look = progress.look()
    assert (look.bytes, look.bytes_per_s, look.seconds_left) == (600, 10.0, 40.0)
    assert look.line() == "fetching: 600 B of 1.0 kB (60 %), 10 B/s, 40 s left"
    assert as_json(look)["file"] == "a"


def test_the_rate_is_of_the_last_half_minute():
    clock = Clock()
    progress = Progress(clock)
    progress.enter("fetching")
    progress.plan(10_000, 0)
    progress.add("a", 3000)
    for _ in range(10):
        clock.now += 10
        progress.look()
    assert progress.look().bytes_per_s == 0
    assert progress.look().seconds_left is None


def test_waiting_tells_for_whom():
    progress = Progress()
    progress.enter("waiting", "pod x")
    assert progress.look().line() == "waiting for pod x"
    progress.enter("listing")
    assert progress.look().waiting_for == ""


SHOW = """
import logging, os, sys
from manta_runtime.models.log import log_to_stderr
lines = log_to_stderr(os.environ)
logging.getLogger("manta.fetch").error("%s", sys.argv[1])
lines.close()
os._exit(3)
"""
SAID = "hf_abcdefgh s3cr3tkey /homeless https://u:p@proxy/x?X-Amz-Signature=abc&Signature=def&a=1 banana"
SHOWN = "*** *** /homeless https://***@proxy/x?X-Amz-Signature=***&Signature=***&a=1 banana"


@pytest.mark.parametrize("form", ["json", "text", "", "yaml"])
def test_the_log_has_the_engines_form_and_no_secrets(form):
    secrets = {"HF_TOKEN": "hf_abcdefgh", "AWS_ACCESS_KEY_ID": "s3cr3tkey", "X_TOKEN": "a"}
    environ = {**os.environ, **secrets, "HOME": "/homeless", "POD_NAME": "demo-a-0-1", "MANTA_LOG": form}
    ran = subprocess.run([sys.executable, "-c", SHOW, SAID], env=environ, capture_output=True, text=True, check=False)
    *before, line = ran.stderr.splitlines()
    if form == "text":
        assert line.partition(" ")[2] == f"manta fetch: {SHOWN}"
        return
    found = json.loads(line)
    assert (found["message"], found["level"], found["phase"], found["rank"]) == (SHOWN, "error", "fetch", 1)
    assert (found["pod"], found["group"]) == ("demo-a-0-1", "demo-a-0")
    assert bool(before) is (form == "yaml")
    assert form != "yaml" or "use json or text" in before[0]


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, PermanentError, "is full"),
        (errno.EDQUOT, PermanentError, "quota"),
        (errno.EROFS, PermanentError, "read-only"),
        (errno.EACCES, PermanentError, "fsGroup"),
        (errno.EIO, FetchError, "node's log"),
    ],
)
def test_disk_errors_say_what_to_do(tmp_path, number, kind, words):
    found = explain(OSError(number, os.strerror(number)), tmp_path)
    assert type(found) is kind
    assert words in str(found)
    assert "spec." in str(found)


def test_room(tmp_path):
    check_room(tmp_path, 0)
    check_room(tmp_path, 1)
    with pytest.raises(PermanentError, match=r"spec\.model\.cache"):
        check_room(tmp_path, 1 << 60)


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1500, "1.5 kB"), (2.5e6, "2.5 MB"), (140e9, "140.0 GB")])
def test_sizes(count, text):
    assert gigabytes(count) == text


def test_the_second_waits_until_the_first_is_through(tmp_path):
    stop, held, looked = threading.Event(), threading.Event(), threading.Event()

    def second():
        with locked(tmp_path / "lock", stop, looked.set):
            held.set()

    with locked(tmp_path / "lock", stop, lambda: None):
        thread = threading.Thread(target=second)
        thread.start()
        assert looked.wait(5)
        assert not held.is_set()
    assert held.wait(5)
    thread.join()


def test_waiting_for_the_lock_stops(tmp_path):
    stop = threading.Event()
    with (
        locked(tmp_path / "lock", stop, lambda: None),
        pytest.raises(StoppedError),
        locked(tmp_path / "lock", stop, stop.set),
    ):
        pytest.fail("two hold the lock")


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(PermanentError, match="NFS"), locked(tmp_path / "lock", threading.Event(), lambda: None):
        pytest.fail("held without a lock")
