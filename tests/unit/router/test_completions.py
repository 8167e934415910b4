"""The picker's ear for Envoy's access log: ends, whatever else comes with them."""

import asyncio

import msgpack
import pytest

from manta_runtime.router import access_log, sockets
from manta_runtime.router.picker.completions import Completions, End, end_of


def listening(folder):
    return sockets.listen(folder, sockets.ENDS)


async def connect(folder):
    _, writer = await asyncio.open_unix_connection(folder / sockets.ENDS)
    return writer


async def until(check):
    async with asyncio.timeout(3):
        while not check():  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)


async def test_completions_are_heard_however_the_stream_is_cut(tmp_path):
    heard, lost = [], asyncio.Event()
    completions = Completions(heard.append, lost.set)
    records = [
        {"id": "r1", "end": "- 200 10.0.0.1:8000 2 31 - 40 - - - 512 -"},
        {"id": "r2", "end": "UF,URX 503 - 1 - 5 40 7 6 0 1 16"},
    ]
    batch = msgpack.packb(["done", [[number, record] for number, record in enumerate(records)], {}])
    async with await completions.serve(listening(tmp_path)):
        writer = await connect(tmp_path)
        for part in (batch[:7], batch[7:] + batch[:20], batch[20:]):
            writer.write(part)
            await asyncio.sleep(0.01)
        writer.close()
        await asyncio.wait_for(lost.wait(), 2)
    one = End("r1", "-", 200, "10.0.0.1:8000", 2, 31, None, 40, bytes=512)
    assert heard == [one, End("r2", "UF,URX", 503, "", 1, None, 5, 40, 7, 6, 0, 1, 16)] * 2
    assert list(access_log.END) == list(End.__struct_fields__[1:])


@pytest.mark.parametrize(
    "record", [{"id": "r"}, {"end": "- 200 -"}, {"id": "r", "end": "-"}, {"id": "r", "end": 7}, "x"]
)
def test_what_is_not_a_record_costs_nobody_else_their_end(record, caplog):
    heard = []
    Completions(heard.append, lambda: None).message(["done", [[1, record], [2, {"id": "r2", "end": "- 200 -"}]]])
    assert heard == [End("r2", "-", 200)]
    assert "an end that cannot be read" in caplog.text


@pytest.mark.parametrize("message", [7, None, ["done"], ["done", 7], ["done", [7]], {}])
async def test_what_is_not_a_batch_costs_nobody_else_theirs(message, caplog, tmp_path):
    heard, lost = [], []
    completions = Completions(heard.append, lambda: lost.append(1))
    good = msgpack.packb(["done", [[1, {"id": b"r\xff", "end": "- 200 -"}]], {}], use_bin_type=False)
    async with await completions.serve(listening(tmp_path)):
        writer = await connect(tmp_path)
        writer.write(msgpack.packb(message) + good)
        await until(lambda: heard)
        assert "not a fluentd forward message" in caplog.text
        writer.write(b"\xc1")  # what msgpack never uses
        await until(lambda: completions._connections == 0)
        assert lost == [], "Envoy is still there"
        writer.close()
    assert heard == [End("r\ufffd", "-", 200)]


@pytest.mark.parametrize(
    ("value", "number"),
    [("7", 7), ("7.0", 7), ("7.9", 7), ("-", None), ("", None), ("nan", None), ("null", None), ("inf", None)],
)
def test_numbers_of_a_record(value, number):
    assert end_of({"id": "r", "end": f"- {value} -"}).status == number
