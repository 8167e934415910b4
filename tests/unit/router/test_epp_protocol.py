"""The Endpoint Picker Protocol, its MUSTs one by one, over gRPC: proposal 004 v1.0.0 of the inference extension."""

import asyncio
import importlib.util
import json
import ssl
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from manta_runtime.router.config import RouterConfig
from manta_runtime.router.epp import messages
from manta_runtime.router.epp.server import SERVICE, serve
from manta_runtime.router.picker.decision import Answered, Refused

_spec = importlib.util.spec_from_file_location("epp_fakes", Path(__file__).with_name("epp_fakes.py"))
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
A, B, C = fakes.A, fakes.B, fakes.C
CONFIG, HOST, ask, stream, until = fakes.CONFIG, fakes.HOST, fakes.ask, fakes.stream, fakes.until
running, world = fakes.running, fakes.world

pytestmark = pytest.mark.asyncio(loop_scope="module")
# ---- the wire


async def test_official_messages_are_understood():
    # Serialised by xds-protos 1.85, with fields that we do not declare (attributes).
    official = (
        "12140a100a0e0a053a706174681a052f76312f78180142580a560a14656e766f792e6c622e7375627365745f68696e74123e0a3c0a25"
        "782d676174657761792d64657374696e6174696f6e2d656e64706f696e742d737562736574121332110a0f1a0d31302e302e302e313a"
        "383030304a150a016112100a0e0a0178120911000000000000f03f5a06080410021801"
    )
    message = messages.ProcessingRequest.FromString(bytes.fromhex(official))
    ours = messages.ProcessingRequest()
    ours.request_headers.headers.headers.add(key=":path", raw_value=b"/v1/x")
    ours.request_headers.end_of_stream = True
    hint = ours.metadata_context.filter_metadata["envoy.lb.subset_hint"]
    hint["x-gateway-destination-endpoint-subset"] = ["10.0.0.1:8000"]
    ours.protocol_config.request_body_mode, ours.protocol_config.response_body_mode = 4, 2
    ours.protocol_config.send_body_without_waiting_for_header_response = True
    message.DiscardUnknownFields()
    assert message == ours


async def test_a_message_of_another_protocol_is_answered(world):
    (answer,) = await ask(world, b"\xff\xff\xff")
    assert answer.immediate_response.status.code == 500
    assert json.loads(answer.immediate_response.body)["error"]["code"] == "picker_failed"


# ---- the destination: header and dynamic metadata, the same, in order


@pytest.mark.parametrize("modes", [(4, 4), (4, 2), (2, 4), (2, 2), (2, 0), (3, 1), None])
async def test_the_destination_is_told_twice_and_the_same(world, modes):
    async with stream(world) as (write, read):
        await write(fakes.request_headers(modes=modes))
        buffered = modes is not None and modes[0] != 4
        if buffered:
            assert not (await read()).request_headers.response.header_mutation.set_headers
        await write(fakes.request_body())
        answer = await read()
    assert answer.WhichOneof("response") == ("request_body" if buffered else "request_headers")
    assert fakes.header(answer, "x-gateway-destination-endpoint") == f"{A},{B},{C}"
    assert fakes.destination_in_metadata(answer) == f"{A},{B},{C}"
    assert list(answer.dynamic_metadata) == ["envoy.lb"]


async def test_a_request_without_a_body_is_picked_for_at_once(world):
    (answer,) = await ask(world, fakes.request_headers("/v1/models", "GET", end=True))
    assert fakes.header(answer, "x-gateway-destination-endpoint") == fakes.destination_in_metadata(answer)


async def test_a_destination_that_the_client_sends_is_overwritten(world):
    evil = fakes.request_headers(end=True, x_gateway_destination_endpoint="6.6.6.6:1")
    (answer,) = await ask(world, evil)
    option = answer.request_headers.response.header_mutation.set_headers[0]
    assert (option.header.raw_value.decode().split(",")[0], option.append_action) == (A, 2)


async def test_keys_of_clients_do_not_reach_the_engine(world):
    (answer,) = await ask(world, fakes.request_headers(end=True, authorization="Bearer x", x_api_key="x"))
    assert set(answer.request_headers.response.header_mutation.remove_headers) == {"authorization", "x-api-key"}
    assert world.decider.questions[0].headers[b"authorization"] == b"Bearer x"


# ---- the subset


@pytest.mark.parametrize(
    ("subset", "picked"),
    [
        ([B], B),
        ([B, C], f"{B},{C}"),
        ([f"{C},{B}"], f"{B},{C}"),
        (f"{B}, {C}", f"{B},{C}"),
        (["10.0.0.2"], B),
        (None, f"{A},{B},{C}"),
    ],
    ids=["one", "two", "commas in a list", "a string", "without port", "not set"],
)
async def test_only_endpoints_of_the_subset_are_picked(world, subset, picked):
    (answer,) = await ask(world, fakes.request_headers(end=True, subset=subset))
    assert fakes.destination_in_metadata(answer) == picked


@pytest.mark.parametrize("subset", [[], [""], "", ["9.9.9.9:8000"], [f"{A[:-1]}1"]])
async def test_an_empty_or_foreign_subset_is_a_503(world, subset):
    (answer,) = await ask(world, fakes.request_headers(end=True, subset=subset))
    assert answer.immediate_response.status.code == 503


# ---- errors


async def test_no_ready_endpoint_is_a_503_and_a_dropped_request_a_429(world):
    for status, retry in ((503, 2), (429, 7)):
        refused = Refused(status, b'{"error": {}}', "code", retry)
        world.decider.next = lambda _, refused=refused: refused
        (answer,) = await ask(world, fakes.request_headers(end=True))
        assert answer.immediate_response.status.code == status
        assert fakes.header(answer, "retry-after") == str(retry)
        assert fakes.header(answer, "content-type") == "application/json"
        assert answer.immediate_response.body == b'{"error": {}}'
    assert world.decider.ends == []


async def test_a_failure_of_the_picker_is_an_openai_error(world, caplog):
    world.decider.next = lambda _: 1 / 0
    (answer,) = await ask(world, fakes.request_headers(end=True))
    assert answer.immediate_response.status.code == 500
    assert json.loads(answer.immediate_response.body)["error"]["type"] == "server_error"
    assert "ZeroDivisionError" in caplog.text


async def test_what_the_picker_answers_itself_is_a_200(world):
    world.decider.next = lambda _: Answered(b"[1]", "application/json", (("age", "3"),))
    (answer,) = await ask(world, fakes.request_headers("/v1/models", "GET", end=True))
    assert (answer.immediate_response.status.code, answer.immediate_response.body) == (200, b"[1]")
    assert fakes.header(answer, "age") == "3"


@pytest.mark.parametrize("path", ["/metrics", "/invocations", "/v1/load_lora_adapter", "/v1/%6dodels", "/health"])
async def test_only_the_clients_api_is_reachable(world, path):
    (answer,) = await ask(world, fakes.request_headers(path, end=True))
    assert answer.immediate_response.status.code == 404
    assert world.decider.questions == []


async def test_a_body_over_the_limit_is_a_413(world):
    chunks = [fakes.request_body(b"x" * 100_000, end=False) for _ in range(4)]
    (answer,) = await ask(world, fakes.request_headers(), *chunks)
    assert answer.immediate_response.status.code == 413


@pytest.mark.parametrize("mode", [0, 1], ids=["NONE", "STREAMED"])
async def test_a_gateway_that_hides_the_body_is_told_so(world, mode):
    (answer,) = await ask(world, fakes.request_headers(modes=(mode, 4)))
    assert answer.immediate_response.status.code == 500
    assert (
        "request_body_mode must be FULL_DUPLEX_STREAMED"
        in json.loads(answer.immediate_response.body)["error"]["message"]
    )


# ---- streaming: the whole request, in order, unchanged


@pytest.mark.parametrize("size", [1, 62_000, 62_001, 200_000])
async def test_a_full_duplex_body_comes_back_unchanged_in_small_chunks(world, size):
    body = json.dumps({"model": "t", "prompt": "x" * size}).encode()
    half = len(body) // 2
    parts = [fakes.request_body(body[:half], end=False), fakes.request_body(body[half:])]
    count = -(-len(body) // 62_000)
    head, *rest = await ask(world, fakes.request_headers(), *parts, answers=1 + count)
    assert head.WhichOneof("response") == "request_headers"
    assert fakes.streamed(rest) == (body, True)
    assert max(len(r.request_body.response.body_mutation.streamed_response.body) for r in rest) <= 62_000
    assert world.decider.questions[0].body == body


async def test_trailers_come_after_the_body(world):
    sent = (fakes.request_headers(), fakes.request_body(b'{"model": "t"}', end=False), fakes.trailers("request"))
    answers = await ask(world, *sent, answers=3)
    steps = [answer.WhichOneof("response") for answer in answers]
    assert steps == ["request_headers", "request_body", "request_trailers"]
    assert fakes.streamed(answers[1:2]) == (b'{"model": "t"}', False)


async def test_a_held_request_is_answered_late_and_leaves_when_the_client_does(world):
    world.decider.next = fakes.hold(0.1, world.decider.pick)
    (answer,) = await ask(world, fakes.request_headers(end=True))
    assert fakes.destination_in_metadata(answer)
    waiting = []
    world.decider.next = lambda _: waiting.append(asyncio.get_running_loop().create_future()) or waiting[0]
    async with stream(world) as (write, _):
        await write(fakes.request_headers(end=True))
        await until(lambda: waiting)
    await until(waiting[0].cancelled)


async def test_a_buffered_body_asks_for_time_while_the_request_is_held(world):
    world.decider.next = fakes.hold(0.05, world.decider.pick)
    sent = (fakes.request_headers(modes=(2, 4)), fakes.request_body())
    _, patience, answer = await ask(world, *sent, answers=3)
    assert patience.override_message_timeout.seconds == 70
    assert fakes.destination_in_metadata(answer)


async def test_the_gateway_may_rename_the_model(world):
    head = fakes.request_headers(x_gateway_model_name_rewrite="other")
    _, body = await ask(world, head, fakes.request_body(prompt="x"), answers=2)
    assert json.loads(fakes.streamed([body])[0]) == {"model": "other", "prompt": "x"}
    assert json.loads(world.decider.questions[0].body)["model"] == "other"


async def test_request_ids_of_clients_cannot_collide(world):
    for _ in range(2):
        await ask(world, fakes.request_headers(end=True))
    ids = [question.headers[b"x-request-id"] for question in world.decider.questions]
    assert len(set(ids)) == 2
    assert all(one.startswith(b"r#") for one in ids)


# ---- health and TLS


async def health(world, service):
    check = world.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return (await check(health_pb2.HealthCheckRequest(service=service), timeout=3)).status


async def test_health_is_told_by_service(world):
    services = ("", "liveness", "readiness", SERVICE)
    assert [await health(world, service) for service in services] == [1, 1, 1, 1]
    world.ready = False
    assert [await health(world, service) for service in services] == [2, 1, 2, 2]
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await health(world, "else")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


async def test_the_port_before_serves_tls(world):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(HOST, world.port, ssl=context)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    writer.close()


async def test_a_port_that_is_taken_is_an_error(world):
    config = RouterConfig.model_validate({**CONFIG, "extProcPort": world.port})
    with pytest.raises(OSError, match="or the port after it"):
        async with serve(config, HOST, world, lambda: True):
            pass
