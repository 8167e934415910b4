"""What holds for all unit tests: none trusts the machine's certificate authorities, and their folders are in memory."""

import contextlib
import os

import pytest

MEMORY = "/dev/shm"
ROOM = 2 << 30


def pytest_configure():
    """Where a disk discards what is deleted, each of the thousands of files takes 3 ms to delete: half a minute."""
    with contextlib.suppress(OSError):  # not every system has it
        found = os.statvfs(MEMORY)
        fits = found.f_bavail * found.f_frsize > ROOM and not found.f_flag & os.ST_NOEXEC
        if fits and os.access(MEMORY, os.W_OK):
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)


@pytest.fixture(scope="module", autouse=True)
def no_authorities():
    """Every TLS context reads them anew, 20 ms each; clients of plain HTTP make one, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", os.devnull)
        patch.setenv("SSL_CERT_DIR", os.devnull)
        yield
