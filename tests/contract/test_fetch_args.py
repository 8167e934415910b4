"""What the operator renders for the container that fetches is what `manta-runtime fetch` understands."""

from pathlib import Path

import pytest
from make import LLAMA_8B, deployment

from manta_operator.api import names
from manta_operator.api.model_rules import ENDPOINT_VARIABLES
from manta_operator.box.kubelet.expand import expand
from manta_operator.builders import fetching
from manta_operator.builders.desired import Desired, desire
from manta_operator.builders.model_source import ADDRESS, cache_key, model_source
from manta_operator.planning.observe import Observed
from manta_runtime.main import main
from manta_runtime.models import buckets
from manta_runtime.models.command import fetch
from manta_runtime.models.settings import check_target, parse_uri

MODELS = {
    "hub": {"uri": "hf://org/model.1", "revision": "refs/pr/1", "credentialsSecret": "s", "endpoint": "http://hub"},
    "s3": {"uri": "s3://models/a/b/", "credentialsSecret": "s", "endpoint": "http://minio:9000", "region": "eu-1"},
    "whole bucket": {"uri": "s3://models"},
    "gs": {"uri": "gs://models/a_b", "credentialsSecret": "s", "endpoint": "http://gcs"},
    "dollar": {"uri": "gs://models/$(POD_IP)/$$"},
}


def pod(model, **spec):
    desired = desire(deployment(model=model, **spec), LLAMA_8B, Observed())
    assert isinstance(desired, Desired), desired
    return desired.template["spec"]


def fetcher(model, **spec):
    return pod(model, **spec)["initContainers"][-1]


def _key(spec):
    return cache_key(spec.model, spec.engine)


def environment(container):
    return {entry["name"]: entry for entry in container["env"]}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_fetch_accepts_what_is_rendered(model):
    container = fetcher(model)
    assert container["name"] == names.FETCH_CONTAINER
    assert main.get_command(None, container["command"][1]) is fetch
    arguments = [expand(arg, {"POD_IP": "10.0.0.7"}) for arg in container["args"]]
    given = fetch.make_context("fetch", arguments).params
    assert str(parse_uri(given["uri"])) == model["uri"].rstrip("/")
    assert given["revision"] == model.get("revision", "")
    assert (given["pod_ip"], given["control_port"]) == ("10.0.0.7", names.CONTROL_PORT)
    check_target(given["to"])


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_engine_runs_what_was_fetched_and_cannot_write_it(model):
    spec = pod(model, engine={"resources": {"cpu": 4}})
    (engine,), (container,) = spec["containers"], spec["initContainers"]
    (to,) = [arg.removeprefix("--to=") for arg in container["args"] if arg.startswith("--to=")]
    assert f"--model={to}" in engine["args"]
    assert Path(to).is_relative_to(container["volumeMounts"][0]["mountPath"])
    assert container["volumeMounts"][0] | {"readOnly": True} in engine["volumeMounts"]
    assert container["resources"] == {"requests": engine["resources"]["requests"]}
    assert container["resources"]["requests"]["cpu"] == "4"


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_only_the_fetch_sees_the_credentials(model):
    (engine,) = pod(model)["containers"]
    assert not [entry for entry in engine["env"] if "secretKeyRef" in entry.get("valueFrom", {})]
    secrets = {
        name: entry["valueFrom"]["secretKeyRef"]
        for name, entry in environment(fetcher(model)).items()
        if "secretKeyRef" in entry.get("valueFrom", {})
    }
    keys = fetching.KEYS[model["uri"].partition("://")[0]] if "credentialsSecret" in model else {}
    assert {name: not ref.get("optional", False) for name, ref in secrets.items()} == keys
    assert all((ref["name"], ref["key"]) == ("s", name) for name, ref in secrets.items())


def test_the_address_has_the_name_that_the_fetch_reads():
    assert {scheme: ADDRESS[scheme][0] for scheme in buckets._ENDPOINT} == buckets._ENDPOINT
    env = environment(fetcher(MODELS["s3"]))
    assert (env["AWS_ENDPOINT_URL"]["value"], env["AWS_REGION"]["value"]) == ("http://minio:9000", "eu-1")
    assert environment(fetcher(MODELS["hub"]))["HF_ENDPOINT"]["value"] == "http://hub"


def test_the_engines_environment_reaches_the_fetch_and_wins():
    env = [{"name": "HTTPS_PROXY", "value": "http://proxy"}, {"name": "AWS_REGION", "value": "eu-2"}]
    container = fetcher(MODELS["s3"], engine={"env": env})
    found = [entry["name"] for entry in container["env"]]
    assert len(found) == len(set(found))
    given = environment(container)
    assert (given["HTTPS_PROXY"]["value"], given["AWS_REGION"]["value"]) == ("http://proxy", "eu-2")


def test_every_address_that_the_fetch_reads_is_refused_in_the_environment():
    """KEY is made from spec.model.endpoint: with another address beside it, two models would share a folder."""
    assert {name for variables in ADDRESS.values() for name in variables} == set(ENDPOINT_VARIABLES)


@pytest.mark.parametrize(("uri", "variables"), [(f"{scheme}://org/model", names) for scheme, names in ADDRESS.items()])
def test_an_address_that_was_there_before_the_rule_makes_another_folder(uri, variables):
    """The API server leaves what is stored alone, and so the fetch of an old object still asks there."""
    given = [[], *([{"name": name, "value": "http://a"}] for name in variables)]
    keys = [_key(deployment(model={"uri": uri}, engine={"env": env}).spec) for env in given]
    assert len(set(keys)) == len(keys)
    proxied = deployment(model={"uri": uri}, engine={"env": [{"name": "HTTPS_PROXY", "value": "http://a"}]})
    assert _key(proxied.spec) == keys[0]


def test_every_source_has_a_folder_of_its_own():
    models = [
        {"uri": "hf://org/model"},
        {"uri": "hf://org/model", "revision": "v1"},
        {"uri": "hf://org-model/v1"},
        {"uri": "s3://org/model"},
        {"uri": "s3://org/model", "endpoint": "http://minio"},
        {"uri": "s3://org/" + "x" * 900},
        {"uri": "s3://org/" + "x" * 901},
        {"uri": "gs://org/.../%C3%A4 "},
    ]
    keys = [_key(deployment(model=model).spec) for model in models]
    assert len(set(keys)) == len(models)
    assert keys[0].startswith("org-model-")
    for key in keys:
        check_target(Path("/mnt/cache/models") / key)
        assert len(key) <= 80
    assert _key(deployment(model={"uri": "s3://org/model/"}).spec) == keys[3]


@pytest.mark.parametrize(
    ("uri", "reference", "path"),
    [
        ("oci://r.io:5000/a/b:1", "r.io:5000/a/b:1", "/mnt/model"),
        (f"oci://r.io/a@sha256:{'0' * 64}#models/x", f"r.io/a@sha256:{'0' * 64}", "/mnt/model/models/x"),
    ],
)
def test_an_image_is_mounted_and_nothing_fetched(uri, reference, path):
    spec = pod({"uri": uri, "credentialsSecret": "pull"})
    (engine,) = spec["containers"]
    assert {"name": "model", "image": {"reference": reference}} in spec["volumes"]
    assert {"name": "model", "mountPath": "/mnt/model", "readOnly": True} in engine["volumeMounts"]
    assert f"--model={path}" in engine["args"]
    assert (spec["imagePullSecrets"], "initContainers" in spec) == ([{"name": "pull"}], False)


def test_what_is_there_needs_no_fetch():
    for uri in ("file:///srv/x", "pvc://claim/x"):
        assert not model_source(deployment(model={"uri": uri}).spec).fetched
        assert "initContainers" not in pod({"uri": uri})
