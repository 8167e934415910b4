"""What the operator renders for adapters is what the runtime understands: the list, the container's flags, Secrets."""

import pytest
from rendered import containers, every_deployment, of_kind, render

from manta_operator.api import names
from manta_operator.api.adapters import MOST_ADAPTERS
from manta_operator.box.kubelet.expand import expand
from manta_operator.builders import adapters as built
from manta_operator.builders.fetching import KEYS
from manta_runtime.engine.command import engine
from manta_runtime.main import main
from manta_runtime.models import adapters_list, adapters_secrets
from manta_runtime.models.adapters import adapters

DEPLOYMENTS = {name: each for name, each in every_deployment().items() if built.lora_of(each.spec)}
every = pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS.keys())


def rendered(deployment):
    """The list as the pods read it, and the pods' containers."""
    objects = render(deployment)[1]
    [config] = [obj for obj in of_kind(objects, "ConfigMap") if obj["metadata"]["name"].endswith("-adapters")]
    text = config["data"][built.FILE]
    return adapters_list.parse_list(text), containers(of_kind(objects, "StatefulSet")[0])


def test_there_are_deployments_with_adapters():
    assert {"adapters", "room for adapters", "llama-8b-adapters"} <= set(DEPLOYMENTS)


@every
def test_the_runtime_reads_the_list(deployment):
    wanted, _ = rendered(deployment)
    assert [each.name for each in wanted.adapters] == sorted(each.name for each in deployment.spec.model.adapters)
    assert len(wanted.hash) == 12
    for each in wanted.adapters:
        assert each.fetch == each.uri.startswith(("hf://", "s3://", "gs://"))
        assert each.fetch == str(each.path).startswith("/mnt/cache/adapters/")
        assert not each.fetch or each.path.name == each.key


@every
def test_the_container_accepts_its_flags(deployment):
    _, found = rendered(deployment)
    container = found[names.ADAPTERS_CONTAINER]
    assert main.get_command(None, container["command"][1]) is adapters
    context = adapters.make_context("adapters", [expand(arg, {"POD_IP": "10.0.0.7"}) for arg in container["args"]])
    assert context.params["pod_ip"] == "10.0.0.7"
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(context.params["wanted"].parent) in mounted
    assert str(context.params["told"].parent) in mounted


@every
def test_engine_and_container_read_one_list_and_share_their_notes(deployment):
    _, found = rendered(deployment)
    env = {"GROUP_RANK": "0", "POD_IP": "10.0.0.7", "GROUP_HEAD": "head"}
    started = engine.make_context("engine", [expand(arg, env) for arg in found["engine"]["args"]])
    fetching = adapters.make_context("adapters", [expand(arg, env) for arg in found["adapters"]["args"]])
    assert str(started.params["adapters"]) == str(fetching.params["wanted"]) == built.WANTED
    notes = {mount["name"] for mount in found["engine"]["volumeMounts"]} & {"state"}
    assert notes == {mount["name"] for mount in found["adapters"]["volumeMounts"] if mount["name"] == "state"}


def test_the_secrets_of_adapters_are_where_they_are_read(tmp_path):
    wanted, found = rendered(DEPLOYMENTS["adapters"])
    objects = render(DEPLOYMENTS["adapters"])[1]
    volumes = of_kind(objects, "StatefulSet")[0]["spec"]["template"]["spec"]["volumes"]
    [projected] = [each["projected"] for each in volumes if each["name"] == "adapter-secrets"]
    for source in projected["sources"]:
        for item in source["secret"]["items"]:
            place = tmp_path / item["path"]
            place.parent.mkdir(exist_ok=True)
            place.write_text(f"{source['secret']['name']} {item['key']}")
    [sql] = [each for each in wanted.adapters if each.name == "sql"]
    assert adapters_secrets.environment_of(sql, {}, tmp_path) == {"HF_TOKEN": "hugging-face HF_TOKEN"}
    assert f"--secrets={built.SECRETS_PATH}" in found["adapters"]["args"]


def test_both_sides_know_the_same_keys_and_as_many_adapters():
    assert {scheme: set(keys) for scheme, keys in KEYS.items()} == {
        scheme: set(keys) for scheme, keys in adapters_secrets._KEYS.items()
    }
    assert MOST_ADAPTERS <= adapters_list._MOST
