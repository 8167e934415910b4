"""`manta chat`: the answer as it comes, what is said when there is none, and the way to the Service."""

import asyncio
import json
import threading

import pytest
from aiohttp import web

from manta_operator.cli import chat_way
from manta_operator.cli.chat_stream import BadAnswer, complaint, request, tokens
from manta_operator.cli.kubeconfig import Target


def event(text):
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


async def heard(*chunks):
    async def come():
        for chunk in chunks:
            yield chunk

    return [text async for text in tokens(come())]


@pytest.mark.parametrize(
    ("case", "chunks"),
    [
        ("an event a chunk", [event("a"), event("b"), DONE]),
        ("all at once", [event("a") + event("b") + DONE]),
        ("cut anywhere", [bytes([byte]) for byte in event("a") + event("b") + DONE]),
        (
            "with comments and a role",
            [b": ping\n\n", b'data: {"choices":[{"delta":{}}]}\n', event("a"), event("b"), DONE],
        ),
    ],
)
async def test_tokens_are_heard_however_they_come(case, chunks):
    assert await heard(*chunks) == ["a", "b"], case


@pytest.mark.parametrize(
    ("case", "chunks", "words"),
    [
        ("cut off", [event("a")], "cut off"),
        ("an error in the stream", [b'data: {"error": {"message": "out of memory"}}\n'], "out of memory"),
        ("no JSON", [b"data: <html>\n"], "<html>"),
    ],
)
async def test_a_bad_answer_is_no_answer(case, chunks, words):
    with pytest.raises(BadAnswer, match=words):
        await heard(*chunks)


def test_limits_not_given_are_left_to_the_engine():
    asked = request("tiny", [{"role": "user", "content": "hi"}], (("max_tokens", 5), ("temperature", None)))
    assert asked == {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": True, "max_tokens": 5}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "no such model"}}', "no such model"),
        (b'{"error": "text"}', "text"),
        (b'{"message": "forbidden"}', "forbidden"),
        (b"plain", "plain"),
        (b"", "no reason given"),
        (b"[1]", "[1]"),
    ],
)
def test_complaints_of_all_kinds_are_read(body, words):
    assert complaint(body) == words


class Router:
    """Answers like Manta's router; `asked` is what it was asked last."""

    def __init__(self):
        self.asked = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app)
        self._run(self._runner.setup())
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        self._run(site.start())
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _chat(self, request):
        self.asked = await request.json()
        if self.asked["model"] != "tiny":
            return web.json_response({"error": {"message": "there is no such model"}}, status=404)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        words = ["Hello", " ", str(len(self.asked["messages"]))]
        await answer.write(b"".join(map(event, words)))
        if "cut" in self.asked["messages"][-1]["content"]:
            request.transport.close()
            return answer
        await answer.write(DONE)
        return answer

    def stop(self):
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def router():
    world = Router()
    yield world
    world.stop()


def test_a_question_and_its_answer(router, manta):
    result = manta("chat", "tiny", "how", "are", "you?", "--system=Be kind", "--max-tokens=9", "--url", router.url)
    assert (result.exit_code, result.stdout) == (0, "Hello 2\n")
    assert router.asked == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "how are you?"}],
        "stream": True,
        "max_tokens": 9,
    }


@pytest.mark.parametrize(
    "url", ["foo", "localhost:8000/v1", "ftp://host/v1", "http://", "http://h:x/v1", "http://[/v1"]
)
def test_a_url_that_is_none(url, manta):
    result = manta("chat", "tiny", "hi", "--url", url)
    assert (result.exit_code, f"--url {url}: write it as http://host:port/v1" in result.stderr) == (2, True)


def test_the_prompt_may_come_from_a_pipe(router, manta):
    assert manta("chat", "tiny", "--url", router.url, stdin="hi\n").stdout == "Hello 1\n"
    nothing = manta("chat", "tiny", "--url", router.url, stdin="")
    assert (nothing.exit_code, "no prompt" in nothing.stderr) == (2, True)


@pytest.mark.parametrize(
    ("case", "args", "words"),
    [
        ("unknown model", ["hi", "--model=gpt"], "404: there is no such model"),
        ("cut off", ["cut"], "cut off"),
        ("nobody there", ["hi", "--url=http://127.0.0.1:1/v1"], "does not answer"),
    ],
)
def test_without_a_whole_answer_it_fails(case, args, words, router, manta):
    result = manta("chat", "tiny", "--url", router.url, *args)
    assert (result.exit_code, words in result.stderr) == (1, True), result.output


def test_on_a_box_it_goes_straight_to_the_service(cluster, router, manta):
    cluster.deployment("served", model={"uri": "hf://org/m", "servedNames": ["tiny", "small"]})
    spec = {"clusterIP": "127.0.0.1", "ports": [{"name": "http", "port": router.port}]}
    metadata = {"name": "served", "namespace": "default"}
    cluster.do("create", {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    result = manta("chat", "served", "hi", kubeconfig=cluster.kubeconfig())
    assert (result.stdout, router.asked["model"]) == ("Hello 1\n", "tiny")


def test_before_there_is_a_service_the_status_is_pointed_to(cluster, manta):
    cluster.deployment("tiny")
    result = manta("chat", "tiny", "hi", kubeconfig=cluster.kubeconfig())
    assert (result.exit_code, "`manta status tiny` says why" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("case", "inside", "address", "way"),
    [
        ("a box", False, "127.2.1.1", "http://127.2.1.1:80/v1"),
        ("in a pod", True, "10.0.0.1", "http://tiny.team.svc:80/v1"),
        ("a cluster", False, "10.0.0.1", "Service team/tiny, through the API server"),
    ],
)
def test_the_way(case, inside, address, way):
    target = Target("c", "https://c", "default", {}, inside=inside)
    body = {"metadata": {"name": "tiny", "namespace": "team"}}
    service = {"spec": {"clusterIP": address, "ports": [{"port": 80}]}}
    assert chat_way.choose(None, target, body, service).title == way, case


class Proxy:
    """An API server that proxies to Services, or refuses to."""

    def __init__(self, answer):
        self._answer = answer

    def stream(self, method, path, body=None):
        assert (method, path) == ("POST", "/api/v1/namespaces/team/services/tiny:8000/proxy/v1/chat/completions")
        return self._answer


@pytest.mark.parametrize(
    ("case", "failure", "words"),
    [
        (
            "forbidden",
            (403, "Forbidden", 'cannot create resource "services/proxy"'),
            "port-forward -n team service/tiny",
        ),
        ("no router pod", (503, "ServiceUnavailable", "no endpoints available"), "see `manta status tiny`"),
        ("the router's own no", (503, "", '{"error": {"message": "no replica is ready"}}'), "503: no replica is ready"),
    ],
)
async def test_who_refuses_is_told_apart(case, failure, words):
    from contextlib import asynccontextmanager

    from manta_operator.cli.rest import CallFailed

    @asynccontextmanager
    async def refuse():
        raise CallFailed(*failure, "POST")
        yield

    way = chat_way.Proxied(Proxy(refuse()), "team", "tiny", 8000)
    with pytest.raises(BadAnswer) as caught:
        async with way.send("POST", "/chat/completions"):
            pass
    assert words in str(caught.value), case
