"""Adapters, as a user changes them: the list reaches the pods without a rollout, and what has to be mounted is one."""

import json

import pytest

from manta_operator.box.cluster import ApiError

SQL = {"name": "sql", "uri": "hf://org/sql", "revision": "v1"}
FOLDER = {"name": "folder", "uri": "file:///srv/adapters/x"}


def listed(space):
    """Names in the list that the pods read; LookupError where there is none."""
    config = space.get("ConfigMap", "demo-adapters")
    if config is None:
        raise LookupError("demo-adapters")
    return [each["name"] for each in json.loads(config["data"]["adapters.json"])["adapters"]]


def kinds(space):
    return {each["type"] for each in space.status("demo")["conditions"]}


def test_a_change_of_the_list_replaces_no_pod(space):
    """With room for adapters, the list comes and goes while the same pods serve; Ready does not look at it."""
    space.make("demo", engine={"lora": {}})
    space.serving("demo")
    pods = [pod["metadata"]["uid"] for pod in space.pods("demo")]
    assert listed(space) == []
    assert "AdaptersLoaded" not in kinds(space)
    space.change("demo", model={"adapters": [SQL]})
    space.until("the list has it", lambda: listed(space) == ["sql"])
    told = space.becomes("demo", "AdaptersLoaded", "Unknown", "NotKnown")
    assert "sql is Unknown on pod demo-" in told["message"], "played pods answer nothing"
    assert space.judged("demo", "Ready")["status"] == "True"
    [shown] = space.status("demo")["adapters"]
    assert (shown["name"], shown["loaded"], shown["replicas"][0]["state"]) == ("sql", 0, "Unknown")
    space.change("demo", model={"adapters": []})
    space.until("nothing is said of it", lambda: "AdaptersLoaded" not in kinds(space))
    assert listed(space) == []
    assert [pod["metadata"]["uid"] for pod in space.pods("demo")] == pods


def test_what_has_to_be_mounted_is_a_rollout_and_the_list_outlives_the_room(space):
    """The first adapter of a folder makes a revision; without room for adapters the list goes when no pod reads it."""
    space.make("demo", engine={"lora": {}})
    space.serving("demo")
    first = space.status("demo")["revision"]
    space.change("demo", model={"adapters": [FOLDER]})
    space.until("another revision", lambda: space.status("demo")["revision"] != first)
    space.becomes("demo", "Progressing", "False", "Settled")
    [decision] = [each for each in space.status("demo")["decisions"] if each["reason"] == "Adapters"]
    assert "folder /srv/adapters" in decision["message"]
    space.change("demo", model={"adapters": None}, engine={"lora": None})
    space.until("the list is gone", lambda: space.get("ConfigMap", "demo-adapters") is None)
    assert all(len(pod["spec"]["containers"]) == 1 for pod in space.pods("demo")), "no pod with adapters is left"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"model": {"adapters": [SQL | {"name": "demo"}]}}, "metadata.name is the name of the model"),
        ({"model": {"servedNames": ["sql"], "adapters": [SQL]}}, "adapter sql has a name of the model"),
        ({"model": {"adapters": [SQL, SQL]}}, "Duplicate value"),
        ({"model": {"adapters": [SQL | {"uri": "oci://r.io/a:1"}]}}, "cannot be mounted while an engine runs"),
        ({"engine": {"lora": {"maxRank": 24}}}, "for which vLLM has kernels"),
        ({"engine": {"args": ["--max-loras=2"]}}, "use spec.engine.lora.maxLoaded"),
        ({"engine": {"args": ["--lora-modules=a=/b"]}}, "set spec.engine.lora"),
    ],
    ids=["own name", "served name", "twice", "image", "rank", "flag", "modules"],
)
def test_the_api_server_refuses_with_what_to_do(space, spec, words):
    """What no engine could load, or no client could ask for, is refused before anything is made of it."""
    with pytest.raises(ApiError, match=words):
        space.make("demo", **spec)
