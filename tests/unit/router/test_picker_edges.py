"""The picker's edges: its HTTP server, its ear for Envoy's access log, its reading of engines' metrics, its answers."""

import asyncio
import re

import msgpack
import pytest

from manta_runtime.router.config import parse
from manta_runtime.router.membership import Members
from manta_runtime.router.picker import http
from manta_runtime.router.picker.answers import Picks
from manta_runtime.router.picker.completions import Completions
from manta_runtime.router.picker.http import Answer, Question
from manta_runtime.router.picker.ledger import Ledger
from manta_runtime.router.picker.metrics import Metrics
from manta_runtime.router.picker.run import Picker
from manta_runtime.router.picker.scrape import requests_in
from manta_runtime.router.pod_watch import PodWatch, _GoneError

HOST = "127.1.241.30"
CONFIG = parse("{deployment: t, namespace: ns, servedNames: [t], selector: a=b}")


def echo(question):
    if question.path == "/bug":
        raise RuntimeError("bug")
    return Answer(200, b"%s %s %s" % (question.method.encode(), question.path.encode(), question.body))


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
    async with await http.serve(echo, HOST, 9002, max_body=8):
        reader, writer = await asyncio.open_connection(HOST, 9002)
        writer.write(sent)
        writer.write_eof()
        received = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert re.findall(rb"HTTP/1.1 (\d+)", received.replace(b"not HTTP/1.1", b"")) == statuses
    assert received.endswith(body)


async def test_completions_are_heard_however_the_stream_is_cut():
    heard, lost = [], asyncio.Event()
    completions = Completions(lambda request, flags: heard.append((request, flags)), lost.set)
    batch = msgpack.packb(["done", [[1, {"id": "r1", "flags": "-"}], [2, {"id": "r2", "flags": "UF"}]], {}])
    async with await completions.serve(HOST, 9003):
        _, writer = await asyncio.open_connection(HOST, 9003)
        for part in (batch[:7], batch[7:] + batch[:20], batch[20:]):
            writer.write(part)
            await asyncio.sleep(0.01)
        writer.close()
        await asyncio.wait_for(lost.wait(), 2)
    assert heard == [("r1", "-"), ("r2", "UF")] * 2


@pytest.mark.parametrize("message", [7, ["done"], ["done", [[1, {"flags": "-"}]]]])
def test_what_is_not_a_batch_is_refused(message):
    with pytest.raises(ValueError, match="not a fluentd forward message"):
        Completions(lambda *_: None, lambda: None).message(message)


@pytest.mark.parametrize(
    ("text", "requests"),
    [
        (b'vllm:num_requests_running{e="0"} 2.0\nvllm:num_requests_waiting{e="0"} 1.0\n', 3),
        (b'vllm:num_requests_running{e="0"} 2.0\nvllm:num_requests_running{e="1"} 4.0\n', 6),
        (b'vllm:num_requests_waiting_by_reason{r="x"} 5.0\n# HELP vllm:num_requests_running\n', None),
    ],
)
def test_requests_in_an_engines_metrics(text, requests):
    assert requests_in(text) == requests


def picks(usable=True):
    members, ledger = Members(8000), Ledger()
    conditions = [{"type": "Ready", "status": str(usable)}]
    members.replace([{"metadata": {"name": "a"}, "status": {"podIP": "10.0.0.1", "conditions": conditions}}])
    metrics = Metrics(lambda: [("manta_router_in_flight", "x", ledger.in_flight())])
    return Picks(CONFIG, members, ledger, metrics, clock=lambda: 0.0), metrics


@pytest.mark.parametrize(
    ("method", "body", "content_type", "status", "word"),
    [
        ("POST", b'{"model": "t", "messages": []}', b"application/json", 200, b""),
        ("POST", b'{"messages": []}', b"application/json", 200, b""),
        ("GET", b"", b"", 200, b""),
        ("POST", b"--x\r\nno json", b"Multipart/form-data; boundary=x", 200, b""),
        ("POST", b'{"model": "gpt"}', b"application/json", 404, b"model_not_found"),
        ("POST", b'{"model": "t"', b"application/json", 481, b"invalid_json"),
        ("POST", b'["t"]', b"application/json", 481, b"invalid_value"),
        ("POST", b"", b"application/json", 481, b"no body"),
    ],
)
def test_answers(method, body, content_type, status, word):
    question = Question(method, "/pick/v1/x", {b"x-request-id": b"r", b"content-type": content_type}, body)
    answer = picks()[0].answer(question)
    assert answer.status == status
    assert word in answer.body
    if status == 200:
        assert answer.headers == (("x-gateway-destination-endpoint", "10.0.0.1:8000"), ("x-manta-replica", "a"))


def test_no_ready_replica_and_the_metrics():
    some, metrics = picks(usable=False)
    answer = some.answer(Question("GET", "/pick/v1/models", {}, b""))
    assert (answer.status, answer.headers) == (480, (("retry-after", "2"),))
    assert b"0 of 1 replicas ready" in answer.body
    assert b'manta_router_refusals_total{reason="no_replica"} 1.0' in metrics.render()


def test_watch_events():
    members, changes = Members(8000), []
    watch = PodWatch(members, "ns", "a=b", lambda: changes.append(1))
    pod = {"metadata": {"name": "a", "resourceVersion": "7"}, "status": {}}
    assert watch._event({"type": "ADDED", "object": pod}) == "7"
    assert watch._event({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}) == "9"
    assert (members.known, len(changes)) == (1, 1)
    with pytest.raises(_GoneError):
        watch._event({"type": "ERROR", "object": {"code": 410, "message": "too old"}})


async def test_the_operator_may_ask_for_the_loads():
    picker = Picker(CONFIG)
    picker._members.replace([{"metadata": {"name": "t-abc-0-0"}, "status": {"podIP": "10.0.0.1"}}])
    async with await http.serve(picker._answer, HOST, 9002, max_body=8):
        reader, writer = await asyncio.open_connection(HOST, 9002)
        writer.write(b"GET /loads HTTP/1.1\r\nhost: x\r\n\r\n")
        writer.write_eof()
        received = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(b'\r\n\r\n{"t-abc-0":0}')
