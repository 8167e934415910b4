"""What a child prints becomes lines, however it is cut on its way."""

import asyncio
import os

import pytest

from manta_runtime.engine import relay
from manta_runtime.engine.relay import Relay


async def heard_of(*chunks: bytes) -> list[str]:
    """The lines of an output that comes in these chunks, one read each."""
    heard: list[str] = []
    opened, writing = await Relay.open(heard.append)
    for chunk in chunks:
        os.write(writing, chunk)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    os.close(writing)
    await opened.finish(5)
    return heard


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        pytest.param([b"one\ntwo\n"], ["one", "two"], id="whole"),
        pytest.param([b"o", b"ne\nt", b"wo"], ["one", "two"], id="cut anywhere, no end"),
        pytest.param(["Kö".encode()[:2], "Köln\n".encode()[2:]], ["Köln"], id="cut within a character"),
        pytest.param([b"\xff\xfe\n"], ["\\xff\\xfe"], id="no UTF-8"),
        pytest.param([b"one\r\ntwo\r\n"], ["one", "two"], id="with carriage returns"),
        pytest.param([b"0%\r50%\r100%\ndone\n"], ["100%", "done"], id="a progress bar"),
        pytest.param([b"\n\n"], ["", ""], id="empty lines"),
        pytest.param([], [], id="nothing"),
    ],
)
async def test_lines(chunks, lines):
    assert await heard_of(*chunks) == lines


async def test_a_line_without_an_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(relay, "LONGEST", 1000)
    lines = await heard_of(b"x" * 3000, b"y\n")
    assert "".join(lines) == "x" * 3000 + "y"
    assert len(lines) > 1


async def test_every_line_of_a_lot_comes_in_order():
    heard: list[str] = []
    opened, writing = await Relay.open(heard.append)

    def write() -> None:
        with os.fdopen(writing, "wb") as output:
            output.writelines(b"%d\n" % number for number in range(50_000))

    await asyncio.to_thread(write)
    await opened.finish(5)
    assert heard == [str(number) for number in range(50_000)]
