"""The picker's Unix sockets: whose they are, who takes over, and how long their paths may be."""

import asyncio
import os
import socket

import pytest
import uvloop

from manta_runtime.router import sockets
from manta_runtime.router.config import ConfigError
from manta_runtime.router.picker import http
from manta_runtime.router.picker.http import Answer


def who(path):
    """What the one who listens there says."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(3)
        asking.connect(str(path))
        asking.sendall(b"GET /pick/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return b"".join(iter(lambda: asking.recv(4096), b"")).rpartition(b"\n")[2].decode()


async def picker(folder, name):
    """One that answers with its name."""
    listening = sockets.listen(folder, sockets.PICK)
    return await http.serve_at(lambda _: Answer(200, name.encode()), listening, 8)


def test_nobody_else_may_connect_and_nothing_else_is_left(tmp_path):
    with sockets.listen(tmp_path, sockets.PICK):
        (found,) = tmp_path.iterdir()
        assert (found.name, found.is_socket(), found.stat().st_mode & 0o777) == ("pick.sock", True, 0o600)


def test_what_a_killed_picker_left_is_replaced(tmp_path):
    for scratch in (tmp_path / sockets.PICK, tmp_path / f".{os.getpid()}"):
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(scratch))

    async def serves():
        async with await picker(tmp_path, "next"):
            assert await asyncio.to_thread(who, tmp_path / sockets.PICK) == "next"

    asyncio.run(serves())
    assert [path.name for path in tmp_path.iterdir()] == [sockets.PICK]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_picker_that_ends_leaves_its_successor_the_socket(tmp_path, run):
    async def hand_over():
        old = await picker(tmp_path, "old")
        assert await asyncio.to_thread(who, tmp_path / sockets.PICK) == "old"
        async with await picker(tmp_path, "new"):
            assert await asyncio.to_thread(who, tmp_path / sockets.PICK) == "new"
            old.close()
            await old.wait_closed()
            assert await asyncio.to_thread(who, tmp_path / sockets.PICK) == "new"
        with pytest.raises(ConnectionRefusedError):
            who(tmp_path / sockets.PICK)

    run(hand_over())


def test_the_shared_folder_may_have_a_path_of_any_length(tmp_path):
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    with sockets.listen(folder, sockets.CACHE), sockets.near(folder) as near:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(sockets.path(near, sockets.CACHE))
        assert near.samefile(folder)
    assert not near.parent.exists()


@pytest.mark.parametrize(("length", "fits"), [(107, True), (108, False)])
def test_a_path_that_no_socket_can_have_is_refused(tmp_path, monkeypatch, length, fits):
    folder = tmp_path / ("x" * (length - len(str(tmp_path)) - len("//pick.sock")))
    folder.mkdir()
    if fits:
        with socket.socket(socket.AF_UNIX) as real:
            real.bind(sockets.path(folder, sockets.PICK))
        return
    with pytest.raises(ConfigError, match=r"107 bytes at most .* Set TMPDIR"):
        sockets.path(folder, sockets.PICK)
    monkeypatch.setattr(sockets.tempfile, "tempdir", str(folder))
    with pytest.raises(ConfigError, match="Set TMPDIR"):
        sockets.listen(tmp_path, sockets.PICK)


def test_a_path_with_a_space_would_break_the_record_of_an_end(tmp_path):
    with pytest.raises(ConfigError, match="no space"):
        sockets.path(tmp_path / "My Files", sockets.CACHE)


def test_a_folder_that_is_not_there_is_told_of(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot listen in --run-dir: .* Mount a folder that both containers share"):
        sockets.listen(tmp_path / "none", sockets.PICK)
