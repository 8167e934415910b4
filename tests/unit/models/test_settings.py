"""URIs and targets of a fetch."""

from pathlib import Path

import pytest

from manta_runtime.models.settings import FetchSettingsError, ModelUri, check_address, check_target, parse_uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://org/name", ModelUri("hf", "org/name")),
        ("s3://bucket/a/b", ModelUri("s3", "bucket", "a/b")),
        ("s3://bucket/a/", ModelUri("s3", "bucket", "a")),
        ("gs://my.bucket_1", ModelUri("gs", "my.bucket_1", "")),
    ],
)
def test_parse(text, expected):
    assert parse_uri(text) == expected
    assert parse_uri(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "org/name", "http://x/y", "hf://name", "hf://a/b/c", "hf://../x", "hf://a/..", "s3://", "s3://UP/x",
     "s3://bucket/a//b", "gs://bucket/../x", "hf://a/b@main"],
)  # fmt: skip
def test_refused(text):
    with pytest.raises(FetchSettingsError):
        parse_uri(text)


@pytest.mark.parametrize("address", ["", "0.0.0.0", "::", "pod-0", "10.0.0.1:80"])
def test_addresses_refused(address):
    with pytest.raises(FetchSettingsError):
        check_address(address)


def test_addresses():
    check_address("10.0.0.1")
    check_address("fd00::1")


@pytest.mark.parametrize("to", ["relative", "/", "/a/../b", "/cache/.hidden"])
def test_targets_refused(to):
    with pytest.raises(FetchSettingsError):
        check_target(Path(to))
