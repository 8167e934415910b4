"""Bodies in protobuf that are none, cut off or of another kind. Good ones are in integration/test_kubectl.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manta_operator.box.apiserver.protobuf import decode


def field(number, data):
    return bytes([number << 3 | 2, len(data)]) + data


def body(kind, raw):
    return b"k8s\0" + field(1, field(1, b"v1") + field(2, kind)) + field(2, raw)


CONFIG_MAP = body(b"ConfigMap", field(1, field(1, b"c") + field(2, b"")) + field(2, field(1, b"a") + field(2, b"1")))


def test_object_is_read():
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    assert decode(CONFIG_MAP) == wanted


def test_other_kinds_are_named():
    with pytest.raises(LookupError, match="Pod"):
        decode(body(b"Pod", b""))


@pytest.mark.parametrize("data", [b"", b"{}", CONFIG_MAP[:-1], b"k8s\0\x0f", b"k8s\0\xff", b"k8s\0\x08\x01"])
def test_bad_bodies_are_told(data):
    with pytest.raises((ValueError, LookupError)):
        decode(data)


@given(st.binary(max_size=60))
def test_nothing_else_is_raised(data):
    try:
        found = decode(body(b"Secret", data))
    except ValueError:
        return
    assert found["kind"] == "Secret"
