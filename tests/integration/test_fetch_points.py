"""kill -9 before each single thing that a fetch does to the cache: nothing is half, nothing is lost, nothing is mixed.

test_fetch_kills.py kills at random times; here every point has its turn, also those that take no time. The job runs in
a forked process, in which an audit hook counts what Python does to the file system.
"""

import hashlib
import itertools
import os
import signal
import sys
import threading

import pytest
from fetching import content, safetensors

from manta_runtime.models import lock
from manta_runtime.models.failure import ChangedError, FetchError
from manta_runtime.models.files import Listing, RemoteFile
from manta_runtime.models.job import run_job
from manta_runtime.models.progress import Progress
from manta_runtime.models.settings import FetchSettings, parse_uri

MANY = 500


class Source:
    """A source of two versions; which one it offers is in a file, and which files were read is in another."""

    def __init__(self, folder, *, hub=False):
        self._version, self._reads, self._hub, self._pin = folder / "version", folder / "reads", hub, ""
        self.offer("1")

    def offer(self, version):
        self._version.write_text(version)

    @property
    def reads(self):
        return self._reads.read_text().split() if self._reads.exists() else []

    def forget_reads(self):
        self._reads.unlink(missing_ok=True)

    @staticmethod
    def files(version):
        return {
            "config.json": version.encode() * 9,
            "a/b.txt": version.encode() * 50,
            "w.safetensors": weights(version),
        }

    def listing(self):
        version = self._pin or self._version.read_text()
        return Listing(
            version if self._hub else "", tuple(self._remote(*item, version) for item in self._items(version))
        )

    def pin(self, resolved):
        self._pin = resolved

    def read(self, file, start, end):
        version = self._pin or self._version.read_text()
        if not self._hub and file.etag != version:
            raise ChangedError("changed")
        fd = os.open(self._reads, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{file.path}\n".encode())
        os.close(fd)
        yield self.files(file.etag)[file.path][start:end]

    def is_hash_of_content(self, file):
        return True

    def _items(self, version):
        return self.files(version).items()

    def _remote(self, name, data, version):
        # Without a hash only the ETag tells two contents of one size apart.
        known = ("sha256", hashlib.sha256(data).hexdigest()) if self._hub else ("size", "")
        return RemoteFile(name, len(data), *known, version)


def weights(version):
    return safetensors(3000, int(version))


@pytest.fixture
def to(tmp_path):
    return tmp_path / "models/KEY"


def start(source, to, before=0, then=None, locked=None):
    """Run the job in a process of its own; before its step number `before` (from 1) it does `then` and kills itself.

    It closes the pipe `locked` when it has the lock.
    """
    if pid := os.fork():
        return pid
    code = 99
    try:
        lock._LOOK_EVERY = 0.01
        uri = parse_uri("hf://org/model" if source._hub else "s3://models/x")
        settings = FetchSettings(uri, "", to, "127.0.0.1", 1, "me", retry_seconds=5, parallel=2, chunk=1024)
        if before:
            sys.addaudithook(die_before(before, then, locked))
        run_job(settings, Progress(), threading.Event(), lambda: source)
        code = 0
    except FetchError as error:
        code = error.code
    finally:
        os._exit(code)


def die_before(number, then, locked):
    steps, dying, locking = itertools.count(1), threading.Event(), threading.Event()

    def hook(event, values):
        nonlocal locked
        if locked is not None and locking.is_set():  # the first thing after flock
            os.close(locked)
            locked = None
        if event == "fcntl.flock":
            locking.set()
        writes = event == "open" and values[2] & (os.O_WRONLY | os.O_RDWR) and "reads" not in str(values[0])
        if not (writes or event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")) or dying.is_set():
            return
        if next(steps) == number:
            dying.set()
            if then:
                then()
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def end_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(source, to, before=0, then=None):
    return end_of(start(source, to, before, then))


def test_a_fetch_that_is_killed_before_each_of_its_steps(tmp_path, to):
    source = Source(tmp_path)
    whole = source.files("1")
    for point in range(1, MANY):
        at = to.with_name(f"KEY-{point}")
        code = run(source, at, point)
        assert not at.exists() or content(at) == whole, f"half a model after a kill at {point}"
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert run(source, at) == 0
        assert content(at) == whole, f"killed at {point}"
    assert 20 < point < MANY - 1, "all points were reached"


def test_a_repair_that_is_killed_before_each_of_its_steps_loses_nothing_and_keeps_its_commit(tmp_path, to):
    source = Source(tmp_path, hub=True)
    whole = source.files("1")
    for point in range(1, MANY):
        at = to.with_name(f"KEY-{point}")
        source.offer("1")
        assert run(source, at) == 0
        (at / "a/b.txt").unlink()
        source.offer("2")
        source.forget_reads()
        code = run(source, at, point)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert run(source, at) == 0
        assert content(at) == whole, f"killed at {point}: another commit, or not whole"
        assert set(source.reads) == {"a/b.txt"}, f"killed at {point}: what was whole is fetched again"
    assert 15 < point < MANY - 1, "all points were reached"


def test_a_source_that_changes_while_one_fetcher_dies_and_another_waits(tmp_path, to):
    source = Source(tmp_path)
    for point in range(1, MANY, 2):
        at = to.with_name(f"KEY-{point}")
        source.offer("1")
        told, tell = os.pipe()
        first = start(source, at, point, then=lambda: source.offer("2"), locked=tell)
        os.close(tell)
        os.read(told, 1)  # until the first has the lock, or is dead
        os.close(told)
        second = start(source, at)
        codes = end_of(first), end_of(second)
        if codes[0] == 0:
            break
        assert codes == (-signal.SIGKILL, 0), f"killed at {point}"
        found = content(at)
        assert found in (source.files("1"), source.files("2")), f"killed at {point}: {found}"
    assert 15 < point < MANY - 1, "all points were reached"
