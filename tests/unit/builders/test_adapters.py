"""What adapters add to the pods, what is only in their list, and so what of them is a rollout."""

import json

import kubernetes_validate
import pytest
from make import LLAMA_8B, deployment

from manta_operator.builders.desired import Desired, desire
from manta_operator.planning.observe import Observed

SQL = {"name": "sql", "uri": "hf://org/sql", "revision": "v1"}
CHAT = {
    "name": "chat",
    "uri": "s3://bucket/chat/",
    "region": "eu-1",
    "endpoint": "http://m:9",
    "credentialsSecret": "s3",
}
CLAIM = {"name": "claim", "uri": "pvc://training/a/b/"}
FOLDER = {"name": "folder", "uri": "file:///srv/adapters//x/"}
ROOM = {"lora": {}}


def desired(*adapters, model=None, **spec):
    found = desire(deployment(model=(model or {}) | {"adapters": list(adapters)}, **spec), LLAMA_8B, Observed())
    assert isinstance(found, Desired), found
    return found


def pod(*adapters, **spec):
    return desired(*adapters, **spec).template["spec"]


def listed(*adapters, **spec):
    """The list as the pods read it."""
    maps = [obj for obj in desired(*adapters, **spec).objects if obj["metadata"]["name"] == "demo-adapters"]
    assert [obj["kind"] for obj in maps] == ["ConfigMap"]
    assert list(maps[0]["data"]) == ["adapters.json"]
    return json.loads(maps[0]["data"]["adapters.json"])


def volumes(spec):
    return {volume["name"]: volume for volume in spec["volumes"]}


def mounts(container):
    return {mount["mountPath"]: (mount["name"], mount.get("readOnly", False)) for mount in container["volumeMounts"]}


def revision(*adapters, **spec):
    return desired(*adapters, **spec).plan.revision


def test_without_adapters_nothing_is_added():
    plain = desired()
    assert not any(obj["metadata"]["name"] == "demo-adapters" for obj in plain.objects)
    assert [container["name"] for container in plain.template["spec"]["containers"]] == ["engine"]
    assert "lora" not in json.dumps(plain.template).lower()
    assert "Adapters" not in {decision.reason for decision in plain.plan.decisions}


def test_room_for_adapters_is_what_vllm_is_started_with():
    engine, fetcher = pod(engine={"lora": {"maxRank": 64, "maxLoaded": 2}})["containers"]
    launcher, vllm = engine["args"][: engine["args"].index("--")], engine["args"][engine["args"].index("--") :]
    assert "--adapters=/mnt/adapters/adapters.json" in launcher
    assert {"--enable-lora", "--max-lora-rank=64", "--max-loras=2"} <= set(vllm)
    assert {"name": "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "value": "True"} in engine["env"]
    assert fetcher["name"] == "adapters"
    assert listed(engine=ROOM) == {"hash": listed(engine=ROOM)["hash"], "adapters": []}


def test_a_variable_from_before_the_rule_is_there_once():
    mine = {"name": "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "value": "0"}
    engine, _ = pod(SQL, engine={"env": [mine, {"name": "A", "value": "b"}]})["containers"]
    found = [each for each in engine["env"] if each["name"] == mine["name"]]
    assert found == [mine | {"value": "True"}]
    assert {"name": "A", "value": "b"} in engine["env"]
    (alone,) = pod(engine={"env": [mine]})["containers"]
    assert mine in alone["env"], "without adapters it is the user's"


def test_the_list_is_not_in_the_pods():
    assert revision(SQL) == revision(SQL | {"revision": "v2"}) == revision(SQL | {"name": "x"}) == revision(engine=ROOM)
    assert revision(SQL, engine=ROOM) == revision(engine=ROOM), "nor does it matter whether the room was asked for"
    assert revision(SQL) == revision(SQL, SQL | {"name": "b"}) == revision(SQL, {"name": "c", "uri": "gs://public"})
    hashes = [
        listed(*each, engine=ROOM)["hash"]
        for each in ((SQL,), (), (SQL | {"revision": "v2"},), (SQL, SQL | {"name": "b"}))
    ]
    assert len(set(hashes)) == len(hashes)
    assert listed(SQL, SQL | {"name": "b"}) == listed(SQL | {"name": "b"}, SQL), "the order says nothing"


@pytest.mark.parametrize(
    ("case", "adapters", "engine"),
    [
        ("the first adapter", [SQL], {}),
        ("more room", [], {"lora": {"maxLoaded": 5}}),
        ("a higher rank", [], {"lora": {"maxRank": 32}}),
        ("a Secret of its own", [CHAT], ROOM),
        ("a claim", [CLAIM], ROOM),
        ("a folder", [FOLDER], ROOM),
    ],
)
def test_what_is_in_the_pods_is_a_rollout(case, adapters, engine):
    before = revision() if case == "the first adapter" else revision(engine=ROOM)
    assert revision(*adapters, engine=engine) != before


def test_a_claim_and_a_folder_are_mounted_once_for_all_their_adapters():
    more = (
        CLAIM | {"name": "c2", "uri": "pvc://training/other"},
        FOLDER | {"name": "f2", "uri": "file:///srv/adapters/y"},
    )
    assert revision(CLAIM, FOLDER) == revision(CLAIM, FOLDER, *more)
    spec = pod(CLAIM, FOLDER, *more)
    engine, fetcher = spec["containers"]
    found = {path: name for path, (name, _) in mounts(engine).items() if path.startswith("/mnt/adapter-volumes/")}
    assert len(found) == 2
    sources = [volumes(spec)[name] for name in found.values()]
    assert {"claimName": "training", "readOnly": True} in [each.get("persistentVolumeClaim") for each in sources]
    assert {"path": "/srv/adapters", "type": "Directory"} in [each.get("hostPath") for each in sources]
    assert all(read_only for path, (_, read_only) in mounts(engine).items() if path in found)
    assert not set(found) & set(mounts(fetcher))
    paths = {each["name"]: each["path"] for each in listed(CLAIM, FOLDER, *more)["adapters"]}
    places = {volumes(spec)[name].get("hostPath", {}).get("path", "claim"): path for path, name in found.items()}
    assert paths == {
        "claim": f"{places['claim']}/a/b",
        "c2": f"{places['claim']}/other",
        "folder": f"{places['/srv/adapters']}/x",
        "f2": f"{places['/srv/adapters']}/y",
    }


def test_an_entry_says_all_that_a_fetch_needs():
    [chat, claim, sql] = listed(SQL, CHAT, CLAIM)["adapters"]
    assert chat | {"key": ""} == {
        "name": "chat",
        "key": "",
        "path": f"/mnt/cache/adapters/{chat['key']}",
        "fetch": True,
        "uri": "s3://bucket/chat/",
        "revision": None,
        "endpoint": "http://m:9",
        "region": "eu-1",
        "secret": "s3",
    }
    assert (sql["revision"], sql["secret"], sql["fetch"], claim["fetch"], claim["secret"]) == (
        "v1",
        None,
        True,
        False,
        None,
    )
    assert len({chat["key"], claim["key"], sql["key"], listed(SQL | {"revision": "v2"})["adapters"][0]["key"]}) == 4


@pytest.mark.parametrize(
    ("model", "adapter", "secret"),
    [
        ({"uri": "hf://o/m", "credentialsSecret": "hub"}, {"uri": "hf://a/b"}, "hub"),
        ({"uri": "hf://o/m", "credentialsSecret": "hub"}, {"uri": "hf://a/b", "credentialsSecret": "own"}, "own"),
        ({"uri": "hf://o/m", "credentialsSecret": "hub"}, {"uri": "s3://bucket"}, None),
        ({"uri": "hf://o/m", "credentialsSecret": "hub"}, {"uri": "hf://a/b", "endpoint": "http://other"}, None),
        ({"uri": "hf://o/m", "credentialsSecret": "hub", "endpoint": "http://own"}, {"uri": "hf://a/b"}, None),
        (
            {"uri": "hf://o/m", "credentialsSecret": "hub", "endpoint": "http://own"},
            {"uri": "hf://a/b", "endpoint": "http://own"},
            "hub",
        ),
        ({"uri": "oci://r.io/m:1", "credentialsSecret": "pull"}, {"uri": "hf://a/b"}, None),
        ({"uri": "hf://o/m", "credentialsSecret": "hub"}, {"uri": "pvc://claim/b"}, None),
    ],
)
def test_the_models_secret_is_sent_nowhere_else(model, adapter, secret):
    [entry] = listed({"name": "a"} | adapter, model=model)["adapters"]
    assert entry["secret"] == secret


def test_only_the_fetching_container_sees_secrets_and_no_pod_waits_for_one():
    spec = pod(SQL, CHAT, model={"credentialsSecret": "hub"})
    engine, fetcher = spec["containers"]
    sources = volumes(spec)["adapter-secrets"]["projected"]["sources"]
    assert [each["secret"]["name"] for each in sources] == ["hub", "s3"]
    assert all(each["secret"]["optional"] for each in sources)
    assert {"key": "HF_TOKEN", "path": "hub/HF_TOKEN"} in sources[0]["secret"]["items"]
    assert mounts(fetcher)["/mnt/secrets"] == ("adapter-secrets", True)
    assert "/mnt/secrets" not in mounts(engine)
    assert "adapter-secrets" not in volumes(pod(SQL))


def test_who_fetches_writes_and_the_engine_reads():
    engine, fetcher = pod(SQL, engine={"env": [{"name": "HTTPS_PROXY", "value": "http://p"}]})["containers"]
    assert mounts(engine)["/mnt/cache"] == ("cache", True)
    assert mounts(fetcher)["/mnt/cache"] == ("cache", False)
    assert mounts(engine)["/mnt/adapters"] == mounts(fetcher)["/mnt/adapters"] == ("adapters", True)
    assert mounts(engine)["/mnt/state"] == mounts(fetcher)["/mnt/state"] == ("state", False)
    assert "--told=/mnt/state/adapters" in fetcher["args"]
    assert {"name": "HTTPS_PROXY", "value": "http://p"} in fetcher["env"]
    assert pod(SQL)["volumes"][-1] == {"name": "adapters", "configMap": {"name": "demo-adapters", "optional": True}}


@pytest.mark.parametrize("uri", ["file:///srv/m", "pvc://claim/m", "oci://r.io/m:1"])
def test_a_model_that_is_not_fetched_has_the_cache_for_adapters_alone(uri):
    node = {"uri": uri, "cache": {"hostPath": "/var/cache"}}
    assert "cache" not in volumes(pod(model=node))
    spec = pod(SQL, model=node)
    assert volumes(spec)["cache"]["hostPath"]["path"] == "/var/cache"
    assert [each["name"] for each in spec["initContainers"]] == ["cache-owner"]


def test_the_operator_may_ask_the_heads():
    def admitted(*adapters):
        [policy] = [
            obj
            for obj in desired(*adapters, model={"uri": "pvc://claim/m"}).objects
            if obj["kind"] == "NetworkPolicy" and obj["metadata"]["name"] == "demo-engine"
        ]
        return json.dumps(policy["spec"]["ingress"])

    assert '"app.kubernetes.io/component": "operator"' in admitted(SQL)


def test_the_decision_names_what_is_mounted():
    [told] = [each.message for each in desired(SQL, CHAT, CLAIM).plan.decisions if each.reason == "Adapters"]
    assert told == (
        "3 adapters are loaded at run time, 4 in a batch and of rank 16 at most; changing the list is no rollout, "
        "unless that changes what is mounted into the pods: Secret s3, claim training; "
        "a claim or folder that is not there keeps new pods from starting, those of the model too"
    )


def test_of_secrets_alone_no_pod_has_to_wait():
    [told] = [each.message for each in desired(SQL, CHAT).plan.decisions if each.reason == "Adapters"]
    assert told.endswith("mounted into the pods: Secret s3")


@pytest.mark.parametrize("adapters", [[SQL], [SQL, CHAT, CLAIM, FOLDER]], ids=len)
def test_every_object_is_valid_for_the_real_schemas(adapters):
    for obj in desired(*adapters, parallelism={"tensor": 8}, accelerator={"perPod": 4}).objects:
        kubernetes_validate.validate(obj, "1.37", strict=True)
