"""Every pattern of the CRD: what it accepts and what it refuses, by hand."""

from dataclasses import dataclass
from typing import Any

import pytest
from crd_cases import NODES, at, body_with, problems

from manta_operator.api import fields

PATTERNS = [(path, node["pattern"]) for path, node in NODES.items() if "pattern" in node]


@dataclass(frozen=True)
class Case:
    accepted: tuple[Any, ...]
    refused: tuple[str, ...]


CASES = {
    fields.CPU_PATTERN: Case(("4", "500m", "0.5", "1.25", 4), ("", "0", "-1", "4Gi", "m", "1,5", "0.0", "1m\n", "1e3")),
    fields.MEMORY_PATTERN: Case(
        ("64Gi", "512Mi", "1000", "1.5Gi", "0.5Gi", "2G", 4096), ("", "0", "0Gi", "64GB", "64 Gi", "-1Gi", "Gi", "1gi")
    ),
    fields.PATH_PATTERN: Case(("/mnt/models", "/a"), ("", "mnt/models", "/", "//a", "~/models")),
    fields.ACCELERATOR_PATTERN: Case(("cpu", "nvidia-h100-80gb", "a"), ("", "H100", "nvidia_h100", "-a", "a-", "a.b")),
    fields.RESOURCE_PATTERN: Case(
        ("amd.com/gpu", "habana.ai/gaudi", "aws.amazon.com/neuron_core", "a/B.1"),
        ("", "gpu", "amd.com/", "/gpu", "AMD.com/gpu", "a/b/c", "a/-b", "a/b.", "a b/c"),
    ),
    fields.OBJECT_NAME_PATTERN: Case(("models", "a", "a.b-c"), ("", "Models", "a_b", "-a", "a-", "a/b")),
    fields.HOSTNAME_PATTERN: Case(
        ("a", "llm.example.com", "*.example.com", "1.a-b"),
        ("", "A.com", "*", "a..b", "a.*.b", "a.", "-a", "a_b", "a:80"),
    ),
    fields.AUTO_PATTERN: Case(("auto", 0, 1), ("", "1", "Auto", "auto ", "none")),
    fields.CACHE_SIZE_PATTERN: Case(
        ("64Mi", "1.5Gi", "2G", "1M", "999Gi", "999999Mi"),
        ("", "0Mi", "0.5Gi", "64Ki", "1000", "64MB", "64 Mi", "-1Mi", "Mi", "1mi", "1Ti", "1000G", "1000000M", "9G9"),
    ),
    fields.TENANT_PATTERN: Case(("a", "team-a", "Team_A.1", "1"), ("", "-a", "a-", ".a", "a b", "a/b", "ä")),
    fields.ADAPTER_PATTERN: Case(("a", "sql-v2", "Org/sql.1:x_y", "1"), ("", "-a", "a/", "a b", ":a", "ä", 'a"b')),
    fields.HEADER_PATTERN: Case(("x-session-id", "a", "x1"), ("", "X-Session", "x_y", "-x", "x-", "x:", "a b")),
    fields.ENDPOINT_PATTERN: Case(
        ("https://hub.example.com", "http://minio.minio:9000", "http://10.0.0.1/a/b", "http://a.b-c/v1_x~.y"),
        (
            "",
            "minio:9000",
            "ftp://a",
            "https://",
            "https://A",
            "http://a/",
            "http://u:p@a",
            "http://a:0",
            "http://a?b",
            "http://a#b",
            "http://a b",
        ),
    ),
    fields.REGION_PATTERN: Case(("eu-central-1", "1", "auto"), ("", "EU", "-a", "a_b", "a b", "a.b")),
    fields.COLLECTOR_PATTERN: Case(
        (
            "http://collector:4318",
            "http://a",
            "http://10.0.0.1:4318/v1/traces",
            "http://otel.mon.svc/",
            "http://a:1",
            "http://a:59999",
            "http://a:65535",
        ),
        (
            "",
            "collector:4318",
            "https://a",
            "grpc://a",
            "http://",
            "http://A",
            "http://a:",
            "http://a:0",
            "http://a:04318",
            "http://a:65536",
            "http://a:65540",
            "http://a:65600",
            "http://a:66000",
            "http://a:70000",
            "http://a:99999",
            "http://a..b",
            "http://a.",
            "http://a.-b",
            "http://a b",
            "http://a/?q",
        ),
    ),
    fields.ENV_NAME_PATTERN: Case(("A", "_A1", "a.b-c"), ("", "1A", "A B", "A=B", "Ä")),
}


@pytest.mark.parametrize(("path", "pattern"), PATTERNS)
def test_pattern(path: str, pattern: str) -> None:
    case = CASES[pattern]
    for value in case.accepted:
        assert problems(body_with(path, value)) == []
    for value in case.refused:
        said = problems(body_with(path, value))
        assert len(said) == 1, f"{value!r}: {said}"
        assert said[0].startswith(f"{at(path)}: Invalid value: ")
        assert said[0].endswith(f"{at(path)} in body should match '{pattern}'")
