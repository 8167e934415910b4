"""The picker's edges: its HTTP server, its reading of engines, its probes."""

import asyncio
import re

import pytest

from manta_runtime.router.config import parse
from manta_runtime.router.membership import Members
from manta_runtime.router.picker import http
from manta_runtime.router.picker.engine_client import EngineClient, EngineError
from manta_runtime.router.picker.http import Answer
from manta_runtime.router.picker.looks import Looks, Seen
from manta_runtime.router.picker.picker import Picker
from manta_runtime.router.picker.scrape import Look, read
from manta_runtime.router.pod_watch import PodWatch, _GoneError

HOST = "127.1.241.30"
CONFIG = parse("{deployment: t, namespace: ns, servedNames: [t], selector: a=b}")


def echo(question):
    if question.path == "/bug":
        raise RuntimeError("bug")
    return Answer(200, b"%s %s %s" % (question.method.encode(), question.path.encode(), question.body))


async def exchange(handler, sent, max_body=8):
    """All that the server sends for these bytes and an end of file."""
    async with await http.serve(handler, HOST, 9002, max_body):
        reader, writer = await asyncio.open_connection(HOST, 9002)
        writer.write(sent)
        writer.write_eof()
        received = await reader.read()
        writer.close()
        await writer.wait_closed()
    return received


@pytest.mark.parametrize(
    ("sent", "statuses", "body"),
    [
        (b"GET /a?q=1 HTTP/1.1\r\nhost: x\r\n\r\n" * 2, [b"200", b"200"], b"GET /a "),
        (b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nxyz", [b"200"], b"POST /a xyz"),
        (b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n123456789", [b"413"], b"body too large"),
        (b"GET /bug HTTP/1.1\r\nhost: x\r\n\r\n", [b"500"], b"its log says why"),
        (b"nonsense\r\n\r\n", [b"400"], b"not HTTP/1.1"),
    ],
    ids=["keep-alive", "body", "too large", "bug", "not HTTP"],
)
async def test_http_server(sent, statuses, body):
    received = await exchange(echo, sent)
    assert re.findall(rb"HTTP/1.1 (\d+)", received.replace(b"not HTTP/1.1", b"")) == statuses
    assert received.endswith(body)


@pytest.fixture
async def late():
    """A connection to a server that answers when told: (reader, writer, futures of the questions asked)."""
    asked = []

    def handler(question):
        asked.append(asyncio.get_running_loop().create_future())
        return asked[-1]

    async with await http.serve(handler, HOST, 9002, 8):
        reader, writer = await asyncio.open_connection(HOST, 9002)
        yield reader, writer, asked
        writer.close()
        await writer.wait_closed()


async def until(check):
    async with asyncio.timeout(3):
        while not check():  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)


async def test_late_answers_come_in_the_order_of_the_questions(late):
    reader, writer, asked = late
    writer.write(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    await until(lambda: asked)
    await asyncio.sleep(0.02)
    assert len(asked) == 1, "one question at a time"
    asked[0].set_result(Answer(200, b"one"))
    await until(lambda: len(asked) == 2)
    asked[1].set_result(Answer(200, b"two"))
    received = await reader.read()
    assert received.index(b"one") < received.index(b"two")


async def test_a_late_answer_that_fails_is_a_500(late):
    reader, writer, asked = late
    writer.write(b"GET /1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    await until(lambda: asked)
    asked[0].set_exception(RuntimeError("bug"))
    assert (await reader.read()).startswith(b"HTTP/1.1 500")


async def test_who_leaves_while_waiting_is_told_to_the_handler(late):
    _, writer, asked = late
    writer.write(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n")
    await until(lambda: asked)
    writer.close()
    await until(asked[0].cancelled)
    assert len(asked) == 1


RUNNING, WAITING = b"vllm:num_requests_running", b"vllm:num_requests_waiting"
INFO = b'vllm:cache_config_info{block_size="16",cpu_num_gpu_blocks="9",num_gpu_blocks="100"} 1.0\n'


@pytest.mark.parametrize(
    ("text", "look"),
    [
        (RUNNING + b'{e="0"} 2.0\n' + WAITING + b'{e="0"} 1.0\n', Look(2, 1)),
        (RUNNING + b'{e="0"} 2.0\n' + RUNNING + b'{e="1"} 4.0\n', Look(6, 0, cores=2)),
        (RUNNING + b'{e="0"} 2.0\nvllm:kv_cache_usage_perc{e="0"} 0.5\n', Look(2, 0, 0.5)),
        (b"# HELP x\n" + INFO + RUNNING + b'{e="0"} 1.0', Look(1, 0, kv_tokens=1600)),
        (INFO.replace(b'"100"', b'"None"') + RUNNING + b'{e="0"} 1.0', Look(1)),
        (b"process_start_time_seconds 1.7e9\n" + RUNNING + b"{} 0\n", Look(started="1.7e9")),
        (WAITING + b'_by_reason{r="x"} 5.0\n# HELP ' + RUNNING + b"\n", None),
        (b"", None),
    ],
)
def test_a_look_at_an_engines_metrics(text, look):
    assert read(text) == look


def pods(*names, ready="True", **metadata):
    status = {"podIP": HOST, "conditions": [{"type": "Ready", "status": ready}]}
    return [{"metadata": {"name": name, **metadata}, "status": status} for name in names]


async def test_an_engine_client_asks_again_when_the_engine_had_closed_the_connection():
    async with await http.serve(lambda _: Answer(200, b"x" * 70_000), HOST, 9004, 8):
        client = EngineClient(f"{HOST}:9004")
        assert await client.get("/metrics") == (200, b"x" * 70_000)
        client._connection._transport.abort()
        await asyncio.sleep(0.01)
        assert (await client.get("/metrics"))[0] == 200
        client.close()
    with pytest.raises(EngineError, match=r"GET /health of .*:9005"):
        await EngineClient(f"{HOST}:9005").get("/health")
    async with await http.serve(lambda _: asyncio.get_running_loop().create_future(), HOST, 9004, 8):
        with pytest.raises(EngineError, match="no answer in time"):
            await EngineClient(f"{HOST}:9004", timeout=0.05).get("/health")


async def test_engines_are_looked_at_and_those_that_are_out_are_probed():
    health, seen = [503, 200], []
    answers = {"/metrics": Answer(200, RUNNING + b"{} 3\n"), "/v1/models": Answer(200, b"the models")}

    def engine(question):
        return answers.get(question.path) or Answer(health.pop(0))

    members = Members(9004)
    members.replace(pods("a"))
    kinds = ("look", "silent", "dead", "models", "back")
    looks = Looks(members, Seen(*(lambda *told, kind=kind: seen.append((kind, *told)) for kind in kinds)))
    async with await http.serve(engine, HOST, 9004, 8):
        members.eject("a")
        looks.follow()
        await until(lambda: ("back", "a") in seen)
        await looks.close()
    assert health == []
    assert ("models", "a", b"the models") in seen
    assert [(told[1], told[2].running) for told in seen if told[0] == "look"] == [("a", 3)]
    members.apply("MODIFIED", pods("a", uid="2")[0])
    looks.follow()
    await until(lambda: ("dead", "a") in seen)
    await looks.close()


def test_watch_events():
    members, changes = Members(8000), []
    watch = PodWatch(members, "ns", "a=b", lambda: changes.append(1))
    pod = {"metadata": {"name": "a", "resourceVersion": "7"}, "status": {}}
    assert watch._event({"type": "ADDED", "object": pod}) == "7"
    assert watch._event({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}) == "9"
    assert (members.known, len(changes)) == (1, 1)
    with pytest.raises(_GoneError):
        watch._event({"type": "ERROR", "object": {"code": 410, "message": "too old"}})


@pytest.fixture
async def picker(tmp_path):
    found = Picker(CONFIG, tmp_path)
    yield found
    await found.looks.close()


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/livez", 200, b"ok"),
        ("/readyz", 503, b"the API server has not answered yet"),
        ("/loads", 200, b'{"t-abc-0":0}'),
        ("/usage", 200, b'"tenants":{}'),
        ("/metrics", 200, b'manta_router_in_flight{replica="t-abc-0-0"} 0.0'),
        ("/", 404, b"/livez"),
    ],
)
async def test_what_the_picker_serves(picker, path, status, word):
    picker.members.replace(pods("t-abc-0-0"))
    picker._pods_changed()
    answer = picker.answer(http.Question("GET", path, {}, b""))
    assert (answer.status, word in answer.body) == (status, True)


async def test_readiness_and_liveness(picker):
    picker.watch.synced = True
    for refresh in picker.refreshers():
        refresh()
    assert picker.is_ready()
    picker.ending = True
    assert b"ending" in picker.answer(http.Question("GET", "/readyz", {}, b"")).body
    picker._ticked_at -= 60
    assert picker.answer(http.Question("GET", "/livez", {}, b"")).status == 503
    picker.tick()
    assert picker.answer(http.Question("GET", "/livez", {}, b"")).status == 200


async def test_members_reach_envoy_and_an_engine_that_began_anew_has_an_empty_cache(picker, tmp_path):
    picker.members.replace(pods("a", uid="1"))
    picker._pods_changed()
    assert HOST in (tmp_path / "endpoints.json").read_text()
    picker.chooser.index.insert("a", (1, 2))
    picker._looked("a", Look(started="x", kv_tokens=1 << 20), 1.0)
    picker._looked("a", Look(started="x"), 2.0)
    assert picker.chooser.index.match((1, 2)) == {"a": 2}
    picker._looked("a", Look(started="y"), 3.0)
    assert picker.chooser.index.match((1, 2)) == {}
    picker.chooser.index.insert("a", (1, 2))
    picker.members.replace(pods("a", uid="2"))
    picker._pods_changed()
    assert picker.chooser.index.match((1, 2)) == {}


async def test_a_failed_replica_is_out_until_it_is_back(picker):
    picker.members.replace(pods("a", "b"))
    picker._pods_changed()
    picker.eject("a")
    picker.eject("a")
    assert [c.suspect for c in picker.ledger.candidates(0.0)] == [True, False]
    assert b'manta_router_ejections_total{replica="a"} 1.0' in picker.metrics.render()
    picker._restored("a")
    assert not picker.members.ejected


async def test_a_picker_that_starts_while_the_api_server_is_away_goes_on_with_what_was_known(picker, tmp_path):
    picker.members.replace(pods("a", "b", uid="1") + pods("c", ready="False"))
    picker._pods_changed()
    later = Picker(CONFIG, tmp_path)
    for refresh in later.refreshers():
        refresh()
    assert not later.is_ready()
    await later.watch._back_off(1, OSError("away"))
    assert (later.is_ready(), later.members.all) == (True, picker.members.all)
    assert [c.replica for c in later.ledger.candidates(0.0)] == ["a", "b"]
    later.members.replace(pods("b"))
    later._pods_changed()
    await later.watch._back_off(2, OSError("away again"))
    assert later.members.names == ("b",)
    await later.looks.close()


@pytest.mark.parametrize("text", [None, "", "[1]", "{"])
async def test_without_what_was_known_it_waits(picker, tmp_path, text):
    if text is not None:
        (tmp_path / "replicas.json").write_text(text)
    picker._recall()
    assert (picker.is_ready(), picker.members.known) == (False, 0)
