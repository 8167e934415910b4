"""What mode inference-pool makes, written out, and checked against the real CRDs where their source is at hand.

The schemas are the projects' own and stay out of this repository: a bare clone in `../.mirror/` is read if it is there.
"""

import os
import re
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from make import deployment

from manta_operator.builders.inference_pool import FAMILIES, inference_pool_objects
from manta_operator.builders.router_config import router_config
from manta_operator.cli.documents import documents
from manta_runtime.router.epp.certificate import FOLDER
from manta_runtime.router.routes import PATHS

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "inference-pool" / "objects.yaml"
POOL = {"router": {"mode": "inference-pool"}}
GATEWAY = {"gateway": {"parentRefs": [{"name": "edge", "namespace": "infra"}], "hostnames": ["llm.example.com"]}}
SOURCES = {
    "InferencePool": (
        "kubernetes-sigs+gateway-api-inference-extension",
        "config/crd/bases/inference.networking.k8s.io_inferencepools.yaml",
    ),
    "HTTPRoute": ("kubernetes-sigs+gateway-api", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
}


def objects(**spec):
    asked = deployment(**POOL | spec)
    return {obj["kind"]: obj for obj in inference_pool_objects(asked, router_config(asked))}


def test_golden():
    rendered = documents(list(objects(**GATEWAY).values()))
    if os.environ.get("GOLDEN_UPDATE"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(rendered)
    assert rendered == GOLDEN.read_text(), "the rendered objects changed: review, then run make golden-update"


def test_without_a_gateway_the_pool_is_there_for_routes_of_others():
    assert list(objects()) == ["Service", "Deployment", "InferencePool"]


def test_the_real_schemas_accept_what_kubernetes_knows():
    made = objects()
    for kind in ("Service", "Deployment"):
        kubernetes_validate.validate(made[kind], "1.37", strict=True)


@pytest.mark.parametrize("kind", SOURCES)
def test_the_real_crds_accept_the_rest(kind):
    project, path = SOURCES[kind]
    repository = ROOT.parent / ".mirror" / project / "repo"
    if not repository.is_dir():
        pytest.skip(f"no clone of {project.replace('+', '/')} beside the checkout")
    text = subprocess.run(
        ["git", "-C", repository, "show", f"HEAD:{path}"], capture_output=True, text=True, check=True
    ).stdout
    versions = {
        v["name"]: v["schema"]["openAPIV3Schema"] for v in yaml.load(text, Loader=yaml.CSafeLoader)["spec"]["versions"]
    }
    schema = strict(versions["v1"])
    made = objects(**GATEWAY)[kind]
    jsonschema.validate(made, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(made | {"spec": made["spec"] | {"typo": 1}}, schema)


def strict(schema):
    """The schema, refusing fields it does not name: the API server would drop them silently."""
    if not isinstance(schema, dict):
        return [strict(item) for item in schema] if isinstance(schema, list) else schema
    closed = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
        if "metadata" in closed["properties"]:
            closed["properties"]["metadata"] = {"type": "object"}
    return closed


@pytest.mark.parametrize(
    ("spec", "mode"), [({}, "FailOpen"), ({"auth": {"secret": "keys"}}, "FailClose")], ids=["open", "keys"]
)
def test_without_its_picker_a_gateway_goes_on_unless_keys_are_needed(spec, mode):
    made = objects(router=POOL["router"] | spec)
    assert made["InferencePool"]["spec"]["endpointPickerRef"]["failureMode"] == mode


def test_the_route_passes_what_the_picker_passes():
    families = re.search(r"\(([a-z|]+)\)", PATHS)
    assert families is not None
    assert sorted(families[1].split("|")) == list(FAMILIES)


def test_gateways_find_the_picker():
    made = objects()
    port = made["InferencePool"]["spec"]["endpointPickerRef"]["port"]["number"]
    (served,) = [p for p in made["Service"]["spec"]["ports"] if p["port"] == port]
    (container,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["name"] == "picker"
    assert {"name": served["targetPort"], "containerPort": 9005} in container["ports"]
    assert made["InferencePool"]["spec"]["endpointPickerRef"]["name"] == made["Service"]["metadata"]["name"]
    selected = made["Service"]["spec"]["selector"].items()
    assert selected <= made["Deployment"]["spec"]["template"]["metadata"]["labels"].items()


def test_a_certificate_may_be_given_and_need_not():
    pod = objects()["Deployment"]["spec"]["template"]["spec"]
    (volume,) = [v for v in pod["volumes"] if v["name"] == "epp-tls"]
    assert (volume["secret"]["secretName"], volume["secret"]["optional"]) == ("demo-epp-tls", True)
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "epp-tls"]
    assert mount["mountPath"] == str(FOLDER)
