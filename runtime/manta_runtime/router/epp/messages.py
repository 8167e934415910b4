"""The messages of `envoy.service.ext_proc.v3` that the endpoint picker uses, declared to protobuf's runtime.

Only the fields we use: protobuf skips the others, so both sides agree on the wire. PyPI's `xds-protos` has all of them,
but overwrites modules of other packages (`cel`, `google.api`, `opentelemetry.proto`): docs/dependencies.md.
Numbers and types are those of Envoy's external_processor.proto, base.proto and http_status.proto; enums are plain ints.
"""

from typing import Any

from google.protobuf import descriptor_pb2, duration_pb2, message_factory, struct_pb2
from google.protobuf.descriptor_pool import Default

_PACKAGE = "manta.ext_proc"
_FILE = "manta/ext_proc.proto"

# Message → (number, name, type). "X*": repeated. "X@": a map from string. "X|name": member of the oneof `name`.
_MESSAGES: dict[str, tuple[tuple[int, str, str], ...]] = {
    "HeaderValue": ((1, "key", "string"), (2, "value", "string"), (3, "raw_value", "bytes")),
    "HeaderMap": ((1, "headers", "HeaderValue*"),),
    "HeaderValueOption": ((1, "header", "HeaderValue"), (3, "append_action", "int32")),
    "Metadata": ((1, "filter_metadata", "google.protobuf.Struct@"),),
    "HttpStatus": ((1, "code", "int32"),),
    "ProtocolConfiguration": (
        (1, "request_body_mode", "int32"),
        (2, "response_body_mode", "int32"),
        (3, "send_body_without_waiting_for_header_response", "bool"),
    ),
    "HttpHeaders": ((1, "headers", "HeaderMap"), (3, "end_of_stream", "bool")),
    "HttpBody": ((1, "body", "bytes"), (2, "end_of_stream", "bool")),
    "HttpTrailers": ((1, "trailers", "HeaderMap"),),
    "HeaderMutation": ((1, "set_headers", "HeaderValueOption*"), (2, "remove_headers", "string*")),
    "StreamedBodyResponse": ((1, "body", "bytes"), (2, "end_of_stream", "bool")),
    "BodyMutation": ((1, "body", "bytes|mutation"), (3, "streamed_response", "StreamedBodyResponse|mutation")),
    "CommonResponse": (
        (1, "status", "int32"),
        (2, "header_mutation", "HeaderMutation"),
        (3, "body_mutation", "BodyMutation"),
        (5, "clear_route_cache", "bool"),
    ),
    "HeadersResponse": ((1, "response", "CommonResponse"),),
    "BodyResponse": ((1, "response", "CommonResponse"),),
    "TrailersResponse": ((1, "header_mutation", "HeaderMutation"),),
    "ImmediateResponse": (
        (1, "status", "HttpStatus"),
        (2, "headers", "HeaderMutation"),
        (3, "body", "bytes"),
        (5, "details", "string"),
    ),
    "ProcessingRequest": (
        (2, "request_headers", "HttpHeaders|request"),
        (3, "response_headers", "HttpHeaders|request"),
        (4, "request_body", "HttpBody|request"),
        (5, "response_body", "HttpBody|request"),
        (6, "request_trailers", "HttpTrailers|request"),
        (7, "response_trailers", "HttpTrailers|request"),
        (8, "metadata_context", "Metadata"),
        (10, "observability_mode", "bool"),
        (11, "protocol_config", "ProtocolConfiguration"),
    ),
    "ProcessingResponse": (
        (1, "request_headers", "HeadersResponse|response"),
        (2, "response_headers", "HeadersResponse|response"),
        (3, "request_body", "BodyResponse|response"),
        (4, "response_body", "BodyResponse|response"),
        (5, "request_trailers", "TrailersResponse|response"),
        (6, "response_trailers", "TrailersResponse|response"),
        (7, "immediate_response", "ImmediateResponse|response"),
        (8, "dynamic_metadata", "google.protobuf.Struct"),
        (10, "override_message_timeout", "google.protobuf.Duration"),
    ),
}

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {"string": _Field.TYPE_STRING, "bytes": _Field.TYPE_BYTES, "bool": _Field.TYPE_BOOL}
_SCALARS["int32"] = _Field.TYPE_INT32


def _declare() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name=_FILE, package=_PACKAGE, syntax="proto3")
    file.dependency.extend([struct_pb2.DESCRIPTOR.name, duration_pb2.DESCRIPTOR.name])
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind in fields:
            _add_field(message, number, field, kind)
    Default().Add(file)
    return message_factory.GetMessageClassesForFiles([_FILE], Default())


def _add_field(message: Any, number: int, name: str, kind: str) -> None:
    kind, _, oneof = kind.partition("|")
    label = _Field.LABEL_REPEATED if kind[-1] in "*@" else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if oneof:
        if not message.oneof_decl:
            message.oneof_decl.add(name=oneof)
        field.oneof_index = 0
    if kind.endswith("@"):
        entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _add_field(entry, 1, "key", "string")
        _add_field(entry, 2, "value", kind[:-1])
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{message.name}.{entry.name}"
        return
    kind = kind.rstrip("*")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{kind}" if "." in kind else f".{_PACKAGE}.{kind}"


_CLASSES = _declare()


def message(name: str) -> Any:
    """The class of a message by its name in Envoy's API."""
    return _CLASSES[f"{_PACKAGE}.{name}"]


ProcessingRequest: Any = message("ProcessingRequest")
ProcessingResponse: Any = message("ProcessingResponse")

# ProcessingMode.BodySendMode
NONE, STREAMED, BUFFERED, BUFFERED_PARTIAL, FULL_DUPLEX = range(5)
