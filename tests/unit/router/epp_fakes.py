"""A Decider by script behind a real endpoint picker, and messages as gateways send them; for tests of the picker."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import grpc
import pytest_asyncio

from manta_runtime.router.config import RouterConfig
from manta_runtime.router.epp import messages
from manta_runtime.router.epp.server import SERVICE, serve
from manta_runtime.router.picker.decision import Picked, Refused

A, B, C = "10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000"


class Scripted:
    """Answers `next` (or what it returns for the question), and keeps all it is asked and told."""

    def __init__(self, *endpoints, hide_usage=False):
        self.endpoints = endpoints
        self.next = self.pick
        self.hide_usage = hide_usage
        self.questions, self.ends, self.first = [], [], []

    def pick(self, question):
        allowed = [e for e in self.endpoints if question.subset is None or e in question.subset]
        if not allowed:
            return Refused(503, b'{"error": {}}', "no_ready_replica", 2)
        number = question.headers[b"x-request-id"].decode()
        return Picked(number, "anonymous", "a", tuple(allowed), "least-load", self.hide_usage, False, "")

    def decide(self, question):
        self.questions.append(question)
        return self.next(question)

    def first_byte(self, request_id, upstream):
        self.first.append((request_id, upstream))

    def ended(self, end):
        self.ends.append(end)


def hold(seconds, then):
    """A `next` that holds each request so long."""

    def held(question):
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(seconds, lambda: future.done() or future.set_result(then(question)))
        return future

    return held


def header_map(headers):
    """As Envoy sends them: raw values."""
    value = messages.message("HeaderValue")
    return messages.message("HeaderMap")(headers=[value(key=k, raw_value=v.encode()) for k, v in headers.items()])


def request_headers(path="/v1/chat/completions", method="POST", end=False, modes=(4, 4), subset=None, **more):
    """The first message of a stream; `modes`: body modes of request and response, None: the gateway does not say."""
    pseudo = {":method": method, ":path": path, "content-type": "application/json", "x-request-id": "r"}
    given = {name.replace("_", "-"): value for name, value in more.items()}
    message = messages.ProcessingRequest()
    message.request_headers.headers.CopyFrom(header_map({**pseudo, **given}))
    message.request_headers.end_of_stream = end
    if modes is not None:
        message.protocol_config.request_body_mode, message.protocol_config.response_body_mode = modes
    if subset is not None:
        hint = message.metadata_context.filter_metadata["envoy.lb.subset_hint"]
        hint["x-gateway-destination-endpoint-subset"] = subset
    return message


def request_body(body=b"", end=True, **fields):
    body = body or json.dumps({"model": "t", **fields}).encode()
    message = messages.ProcessingRequest()
    message.request_body.body, message.request_body.end_of_stream = body, end
    return message


def trailers(side):
    message = messages.ProcessingRequest()
    getattr(message, f"{side}_trailers").trailers.SetInParent()
    return message


def response_headers(status=200, content_type="application/json", served="", end=False):
    message = messages.ProcessingRequest()
    headers = {":status": str(status), "content-type": content_type}
    message.response_headers.headers.CopyFrom(header_map(headers))
    message.response_headers.end_of_stream = end
    if served:
        message.metadata_context.filter_metadata["envoy.lb"]["x-gateway-destination-endpoint-served"] = served
    return message


def response_body(body, end=False):
    message = messages.ProcessingRequest()
    message.response_body.body, message.response_body.end_of_stream = body, end
    return message


def header(answer, name):
    """The value that an answer (request_headers or request_body) sets for a header; None if it does not."""
    step = answer.WhichOneof("response")
    common = answer.immediate_response.headers if step == "immediate_response" else None
    mutation = common if common is not None else getattr(answer, step).response.header_mutation
    found = [option.header.raw_value.decode() for option in mutation.set_headers if option.header.key == name]
    return found[0] if found else None


def destination_in_metadata(answer):
    return answer.dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"]


def streamed(answers):
    """The bytes of full-duplex chunks, and whether the last one ends the body."""
    pieces = []
    for answer in answers:
        pieces.append(getattr(answer, answer.WhichOneof("response")).response.body_mutation.streamed_response)
    return b"".join(piece.body for piece in pieces), pieces[-1].end_of_stream


# ---- a picker that serves

CONFIG = {"deployment": "t", "namespace": "ns", "servedNames": ["t"], "selector": "a=b", "mode": "inference-pool"}
MAX_BODY = 300_000
HOST = "127.0.0.1"


class Relay:
    """What a picker holds for a whole module: `decider` is new for each test, and hears of its own requests alone."""

    def __init__(self):
        self.decider = Scripted(A)
        self.askers = {}

    def decide(self, question):
        self.askers[question.headers[b"x-request-id"].decode()] = self.decider
        return self.decider.decide(question)

    def first_byte(self, request_id, upstream):
        self.askers[request_id].first_byte(request_id, upstream)

    def ended(self, end):
        self.askers[end.id].ended(end)


class World(Relay):
    """A picker on free ports, and one channel to it."""

    def __init__(self, port):
        super().__init__()
        self.port, self.ready = port, True


def free_port():
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind((HOST, 0))
            try:
                two.bind((HOST, one.getsockname()[1] + 1))
            except OSError:
                continue
            return one.getsockname()[1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running():
    port = free_port()
    world = World(port)
    config = RouterConfig.model_validate({**CONFIG, "extProcPort": port, "maxBodyBytes": MAX_BODY})
    async with (
        serve(config, HOST, world, lambda: world.ready),
        grpc.aio.insecure_channel(f"{HOST}:{port + 1}") as world.channel,
    ):
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(running):
    running.ready, running.decider = True, Scripted(A, B, C)
    return running


@asynccontextmanager
async def stream(world):
    """An ext_proc stream: (write, read)."""
    method = world.channel.stream_stream(
        f"/{SERVICE}/Process",
        request_serializer=_encode,
        response_deserializer=messages.ProcessingResponse.FromString,
    )
    call = method()

    async def read():
        return await asyncio.wait_for(call.read(), 3)

    yield call.write, read
    call.cancel()


async def ask(world, *sent, answers=1):
    """What the picker says to these messages on a stream of their own."""
    async with stream(world) as (write, read):
        for message in sent:
            await write(message)
        return [await read() for _ in range(answers)]


async def until(check):
    async with asyncio.timeout(3):
        while not check():  # noqa: ASYNC110 - the end is told by another task
            await asyncio.sleep(0.01)


def _encode(message):
    return message if isinstance(message, bytes) else message.SerializeToString()
