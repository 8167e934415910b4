"""How a download ends: one failure ends all threads, also those that wait for another try."""

import threading
import time
from pathlib import Path

import pytest

from manta_runtime.models.download import Download
from manta_runtime.models.failure import ChangedError, StoppedError, TransientError
from manta_runtime.models.files import RemoteFile
from manta_runtime.models.progress import Progress
from manta_runtime.models.settings import FetchSettings, parse_uri
from manta_runtime.models.staging import Staging

FILES = [RemoteFile("a", 10), RemoteFile("b", 10)]


class Busy:
    """A source that asks to come back much later for `a`; `b` is what the test says."""

    def __init__(self, then):
        self.asked = threading.Event()
        self._then = then

    def read(self, file, start, end):
        if file.path == "a":
            self.asked.set()
            raise TransientError("busy", retry_after=200.0)
        assert self.asked.wait(10)
        yield from self._then()


def download(folder, source, stop):
    settings = FetchSettings(parse_uri("s3://models/x"), "", Path(folder) / "KEY", "127.0.0.1", 1, "me", parallel=2)
    staging = Staging(settings.to, settings.chunk)
    staging.make()
    made = Download(source, staging, Progress(), settings, stop)
    assert made.missing(FILES) == 20
    return made


def test_a_change_does_not_wait_for_who_backs_off(tmp_path):
    def changed():
        raise ChangedError("changed")
        yield

    began = time.monotonic()
    with pytest.raises(ChangedError):
        download(tmp_path, Busy(changed), threading.Event()).run(FILES)
    assert time.monotonic() - began < 20, "not the 200 s that the server asked for"


def test_stop_does_not_wait_for_who_backs_off(tmp_path):
    stop = threading.Event()

    def stopped():
        stop.set()
        yield b"0123456789"

    began = time.monotonic()
    with pytest.raises(StoppedError):
        download(tmp_path, Busy(stopped), stop).run(FILES)
    assert time.monotonic() - began < 20
