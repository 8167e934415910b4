"""Parsing admitted bodies into frozen values."""

import pydantic
import pytest

from manta_operator.api.models import EngineSpec, LLMDeployment, LLMDeploymentSpec, RouterSpec, parse

MINIMAL = {"model": {"uri": "hf://a/b"}, "accelerator": {"type": "cpu"}}


def test_parse_reads_the_identity() -> None:
    metadata = {"name": "tiny", "namespace": "ml", "uid": "u-1", "generation": 3, "labels": {"a": "b"}}
    deployment = parse({"metadata": metadata, "spec": MINIMAL, "status": {"replicas": 1}})
    assert (deployment.name, deployment.namespace, deployment.uid, deployment.generation) == ("tiny", "ml", "u-1", 3)


def test_parse_of_a_manifest_that_no_api_server_has_seen() -> None:
    deployment = parse({"metadata": {"name": "tiny"}, "spec": MINIMAL})
    assert (deployment.namespace, deployment.uid, deployment.generation) == ("default", "", 0)


def test_parse_reads_camel_case_lists_and_whole_numbers() -> None:
    spec = MINIMAL | {
        "engine": {"kvCacheDtype": "fp8", "maxModelLen": 8, "args": ["--a"], "resources": {"cpu": 4}},
        "podTemplate": {"spec": {"hostNetwork": True}},
    }
    parsed = parse({"metadata": {"name": "tiny"}, "spec": spec}).spec
    assert (parsed.engine.kv_cache_dtype, parsed.engine.max_model_len) == ("fp8", 8)
    assert parsed.engine.args == ("--a",)
    assert parsed.engine.resources.cpu == "4"
    assert parsed.pod_template == {"spec": {"hostNetwork": True}}


@pytest.mark.parametrize(
    "spec",
    [{}, MINIMAL | {"foo": 1}, MINIMAL | {"engine": {"maxmodellen": 1}}, MINIMAL | {"replicas": -1}],
    ids=["empty", "unknown field", "unknown nested field", "out of bounds"],
)
def test_parse_refuses_what_no_api_server_admits(spec: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        parse({"metadata": {"name": "tiny"}, "spec": spec})


def test_values_do_not_change() -> None:
    deployment = parse({"metadata": {"name": "tiny"}, "spec": MINIMAL})
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        deployment.spec.router.replicas = 3  # type: ignore[misc]


def test_values_are_made_from_snake_case_too() -> None:
    spec = LLMDeploymentSpec(**MINIMAL, engine=EngineSpec(max_model_len=8), router=RouterSpec(port=80))
    deployment = LLMDeployment(name="a", namespace="b", uid="", generation=0, spec=spec)
    assert (deployment.spec.engine.max_model_len, deployment.spec.router.port) == (8, 80)
