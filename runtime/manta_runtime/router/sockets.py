"""The Unix sockets on which Envoy talks to the picker of its pod: in the folder both containers share, for no one else.

The picker listens (`listen`), Envoy's clusters name the paths (`path`); each may start first, and again. A socket of
that name is replaced in one piece, and never removed: what a killed picker left is in nobody's way, and a picker that
ends cannot take away its successor's. To a file nobody listens on Envoy connects as to none: refused, and asked again.
"""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manta_runtime.router.config import ConfigError

PICK, ENDS, CACHE = "pick.sock", "ends.sock", "cache.sock"
"""Questions, ends of requests, and requests whose answers may be kept."""

BACKLOG = 4096
"""Connections that wait to be accepted. A Unix socket refuses the next one at once, where TCP would let it wait."""

_LONGEST = 107
_MODE = 0o600  # both containers run as one user


@contextmanager
def near(run_dir: Path) -> Iterator[Path]:
    """A short path to the folder, while the context lasts: the kubelet's, and more so the box's, may be too long.

    OSError if there is no folder for temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="m-") as folder:
        link = Path(folder) / "run"
        link.symlink_to(run_dir.absolute(), target_is_directory=True)
        yield link


def path(folder: Path, name: str) -> str:
    """Where the socket is. ConfigError if no socket can have that path."""
    found = str(folder / name)
    if len(os.fsencode(found)) > _LONGEST or " " in found:  # the record of an end is cut at spaces
        raise ConfigError(
            f"the path of a Unix socket has {_LONGEST} bytes at most and here no space, unlike {found}. "
            "Set TMPDIR to a folder with such a path"
        )
    return found


def listen(run_dir: Path, name: str) -> socket.socket:
    """Listen on the socket of that name, whoever had it before.

    ConfigError if the folder cannot be written or the path of the one for temporary files is too long.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _take(listening, run_dir, name)
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen in --run-dir: {error}. Mount a folder that both containers share") from error
    except ConfigError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def _take(listening: socket.socket, run_dir: Path, name: str) -> None:
    scratch = run_dir / f".{os.getpid()}"  # no longer than the name
    scratch.unlink(missing_ok=True)
    with near(run_dir) as folder:
        listening.bind(path(folder, scratch.name))
    scratch.chmod(_MODE)
    listening.listen(BACKLOG)
    scratch.replace(run_dir / name)
