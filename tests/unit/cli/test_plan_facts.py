"""Where the command line has a model's facts from, and that it says so."""

import json

import pytest
import small_model
import yaml
from click.testing import CliRunner
from fetch_hub import FakeHub
from small_model import safetensors

from manta_operator.cli.main import main
from manta_operator.facts import catalog

CONFIG = small_model.CONFIG | {"max_position_embeddings": 1024}
OWN = {
    "models.yaml": yaml.safe_dump({"org/model": {"config": CONFIG}, "s3://bucket/model": {"config": CONFIG}}),
    "accelerators.yaml": yaml.safe_dump({"acme-x1": {"resource": "acme.com/x1", "memoryGiB": 32}}),
}


@pytest.fixture
def hub():
    with FakeHub({"config.json": json.dumps(CONFIG).encode(), "model.safetensors": safetensors()}) as hub:
        yield hub


@pytest.fixture
def plan(tmp_path):
    """Plan a model; return what is said as JSON, or what was refused."""

    def ask(*options, uri="hf://org/model", env=None, command="plan", accelerator="cpu", **model):
        spec = {"model": {"uri": uri} | model, "accelerator": {"type": accelerator}}
        spec["engine"] = {"maxModelLen": 512, "resources": {"memory": "2Gi"}}
        metadata = {"name": "demo", "namespace": "default"}
        body = {"apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "metadata": metadata, "spec": spec}
        path = tmp_path / "demo.yaml"
        path.write_text(yaml.safe_dump(body))
        as_json = ["-o", "json"] if command == "plan" else []
        env = {"HF_ENDPOINT": "", "HF_TOKEN": ""} | (env or {})
        done = CliRunner().invoke(main, [command, "-f", str(path), *as_json, *map(str, options)], env=env)
        return json.loads(done.output)[0] if command == "plan" and done.exit_code == 0 else done

    return ask


@pytest.fixture
def own(tmp_path):
    """Write a user's catalog."""

    def write(data=OWN, **more):
        path = tmp_path / "catalog.yaml"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "manta-catalog"}, "data": data}
        path.write_text(yaml.safe_dump(body | more))
        return f"--catalog={path}"

    return write


def test_a_shipped_model_is_known_without_a_file_and_without_a_network(plan):
    name = min(name for name in catalog.entries() if "0.5B" in name or "0.6B" in name)
    said = plan(uri=f"hf://{name}")
    assert said["fit"]["fits"] == "True"
    assert said["facts"] == {"basis": "catalog", "source": "Manta's catalog of models", "why": None}


def test_what_nobody_knows_is_unknown_and_says_why(plan):
    said = plan()
    assert said["fit"]["fits"] == "Unknown"
    assert said["facts"] == {"basis": None, "source": None, "why": "no catalog has it; --online asks the hub"}
    assert "no catalog has it" in said["fit"]["message"]


@pytest.mark.parametrize("uri", ["hf://org/model", "s3://bucket/model"])
def test_a_users_catalog_is_the_manifest_of_the_configmap(plan, own, uri):
    said = plan(own(), uri=uri)
    assert said["fit"]["fits"] == "True"
    assert (said["facts"]["basis"], said["facts"]["source"].endswith("catalog.yaml")) == ("catalog", True)


def test_an_accelerator_of_ones_own_is_known_to_the_plan(plan, own):
    assert "is not an accelerator Manta knows" in plan(accelerator="acme-x1").output
    assert plan(own(), accelerator="acme-x1")["fit"]["fits"] == "True"
    rendered = plan(own(), accelerator="acme-x1", command="render")
    assert rendered.exit_code == 0, rendered.output
    assert "acme.com/x1" in rendered.output


@pytest.mark.parametrize(
    ("data", "more", "words"),
    [
        ({"models.yaml": "org/x: {}"}, {}, "org/x"),
        ({"models.yaml": ": : ["}, {}, "models.yaml"),
        ({"models": "x"}, {}, "models"),
        ({"models.yaml": {"org/x": {}}}, {}, "should map names to text"),
        ({}, {"kind": "Secret"}, "manifest of one ConfigMap"),
    ],
    ids=["an empty entry", "no YAML", "another key", "no text", "another kind"],
)
def test_a_wrong_catalog_is_refused_with_the_place(plan, own, data, more, words):
    done = plan(own(data, **more))
    assert done.exit_code == 2
    assert words in done.output
    assert "--catalog" in done.output


def test_a_catalog_that_is_not_there_is_refused(plan, tmp_path):
    assert "cannot be read" in plan(f"--catalog={tmp_path}/none.yaml").output


def test_online_the_hub_is_asked_and_named(plan, hub):
    said = plan("--online", env={"HF_ENDPOINT": hub.endpoint})
    assert said["fit"]["fits"] == "True"
    assert said["facts"]["basis"] == "checkpoint"
    assert said["facts"]["source"].startswith(f"{hub.endpoint}, org/model")
    assert hub.sent < 200_000, "it has read the weights"


def test_offline_nobody_is_asked(plan, hub):
    plan(env={"HF_ENDPOINT": hub.endpoint}, endpoint=hub.endpoint)
    assert hub.requests == []


def test_what_a_catalog_has_is_not_asked_for(plan, own, hub):
    assert plan(own(), "--online", env={"HF_ENDPOINT": hub.endpoint})["facts"]["basis"] == "catalog"
    assert hub.requests == []


def test_ones_own_token_is_for_ones_own_hub(plan, hub):
    hub.token = "s3cret"
    env = {"HF_TOKEN": "s3cret"}
    assert plan("--online", env=env | {"HF_ENDPOINT": hub.endpoint})["facts"]["basis"] == "checkpoint"
    assert not hub.leaked
    said = plan("--online", env=env | {"HF_ENDPOINT": "http://127.0.0.1:9"}, endpoint=hub.endpoint)
    assert "answers 401" in said["facts"]["why"], "a file of somebody else's got the token for its hub"


def test_a_hub_that_is_not_there_leaves_the_fit_unknown(plan):
    said = plan("--online", env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert said["fit"]["fits"] == "Unknown"
    assert "127.0.0.1:9 cannot be reached" in said["facts"]["why"]


def test_for_people_it_is_a_line(plan, own, tmp_path):
    own()
    done = CliRunner().invoke(main, ["plan", "-f", str(tmp_path / "none"), f"--catalog={tmp_path}/catalog.yaml"])
    assert "there is no such file" in done.output
    plan(own())
    done = CliRunner().invoke(main, ["plan", "-f", f"{tmp_path}/demo.yaml", f"--catalog={tmp_path}/catalog.yaml"])
    [line] = [line for line in done.output.splitlines() if line.startswith("facts")]
    assert "catalog.yaml, not read from the checkpoint" in line
