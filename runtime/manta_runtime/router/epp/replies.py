"""What the endpoint picker says to a gateway, as bytes on the wire. Pure; `exchange.py` decides what to say.

Names are those of the Endpoint Picker Protocol (proposal 004 of the Gateway API Inference Extension).
"""

from collections.abc import Iterable

from google.protobuf.struct_pb2 import Struct, Value

from manta_runtime.router import usage
from manta_runtime.router.asking import DESTINATION_HEADER
from manta_runtime.router.epp.messages import ProcessingResponse, message

LB_NAMESPACE = "envoy.lb"
# Some gateways limit a streamed chunk to 64 KiB; the reference picker stays below in the same way.
CHUNK_BYTES = 62_000
_OVERWRITE = 2  # HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
# Keys open our door, not the engine's.
_SECRET_HEADERS = ("authorization", "x-api-key")

_Common = message("CommonResponse")
_Headers = message("HeadersResponse")
_Body = message("BodyResponse")
_Mutation = message("HeaderMutation")
_Option = message("HeaderValueOption")
_Value = message("HeaderValue")
_BodyMutation = message("BodyMutation")
_Streamed = message("StreamedBodyResponse")

GO_ON: dict[str, bytes] = {
    "request_headers": ProcessingResponse(request_headers=_Headers(response=_Common())).SerializeToString(),
    "response_headers": ProcessingResponse(response_headers=_Headers(response=_Common())).SerializeToString(),
    "request_body": ProcessingResponse(request_body=_Body(response=_Common())).SerializeToString(),
    "response_body": ProcessingResponse(response_body=_Body(response=_Common())).SerializeToString(),
    "request_trailers": ProcessingResponse(request_trailers=message("TrailersResponse")()).SerializeToString(),
    "response_trailers": ProcessingResponse(response_trailers=message("TrailersResponse")()).SerializeToString(),
}
"""The answers that change nothing, by what was asked."""


def picked(step: str, endpoints: Iterable[str], body: bytes | None = None) -> bytes:
    """The choice, in answer to `request_headers` or `request_body`: the same list as header and as dynamic metadata.

    `body` replaces a buffered body; Envoy demands that content-length agrees.
    """
    destination = ",".join(endpoints)
    headers = {DESTINATION_HEADER: destination}
    common = _Common(clear_route_cache=True)
    if body is not None:
        headers["content-length"] = str(len(body))
        common.body_mutation.body = body
    common.header_mutation.set_headers.extend(_options(headers.items()))
    common.header_mutation.remove_headers.extend(_SECRET_HEADERS)
    inner = Struct(fields={DESTINATION_HEADER: Value(string_value=destination)})
    metadata = Struct(fields={LB_NAMESPACE: Value(struct_value=inner)})
    kind = _Headers if step == "request_headers" else _Body
    answer: bytes = ProcessingResponse(**{step: kind(response=common)}, dynamic_metadata=metadata).SerializeToString()
    return answer


def response_headers(headers: Iterable[tuple[str, str]]) -> bytes:
    """Headers to add to what the client gets, which is not what engines tell their router."""
    common = _Common(header_mutation=_Mutation(set_headers=_options(headers), remove_headers=usage.HEADERS))
    answer: bytes = ProcessingResponse(response_headers=_Headers(response=common)).SerializeToString()
    return answer


def replaced(step: str, body: bytes) -> bytes:
    """A buffered or streamed (not full-duplex) piece of a body, changed."""
    common = _Common(body_mutation=_BodyMutation(body=body))
    answer: bytes = ProcessingResponse(**{step: _Body(response=common)}).SerializeToString()
    return answer


def streamed(step: str, body: bytes, end: bool) -> list[bytes]:
    """A full-duplex piece of a body, in chunks that every gateway takes; `end`: nothing follows, trailers neither."""
    answers = []
    for start in range(0, max(len(body), 1), CHUNK_BYTES):
        chunk = body[start : start + CHUNK_BYTES]
        piece = _Streamed(body=chunk, end_of_stream=end and start + CHUNK_BYTES >= len(body))
        common = _Common(body_mutation=_BodyMutation(streamed_response=piece))
        answers.append(ProcessingResponse(**{step: _Body(response=common)}).SerializeToString())
    return answers


def immediate(status: int, body: bytes, headers: Iterable[tuple[str, str]], details: str) -> bytes:
    """The gateway answers the client at once with this; no endpoint sees the request. `details`: for access logs."""
    answer = ProcessingResponse()
    response = answer.immediate_response
    response.status.code = status
    response.body = body
    response.headers.set_headers.extend(_options(headers))
    response.details = details
    encoded: bytes = answer.SerializeToString()
    return encoded


def wait_longer(seconds: int) -> bytes:
    """Ask the gateway not to give up on the pending answer for so long (needs its max_message_timeout)."""
    answer = ProcessingResponse()
    answer.override_message_timeout.seconds = seconds
    encoded: bytes = answer.SerializeToString()
    return encoded


def _options(headers: Iterable[tuple[str, str]]) -> list[object]:
    return [
        _Option(header=_Value(key=name, raw_value=value.encode("latin-1", "replace")), append_action=_OVERWRITE)
        for name, value in headers
    ]
