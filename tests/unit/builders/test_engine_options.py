"""vLLM's flags for the options of spec.engine, and the weights that guess in the engine's pod."""

import json

import pytest
from make import LLAMA_8B, deployment

from manta_operator.builders.desired import Desired, desire
from manta_operator.builders.engine_options import option_flags
from manta_operator.planning.observe import Observed


@pytest.mark.parametrize(
    ("engine", "flags"),
    [
        ({}, []),
        ({"speculative": {"method": "ngram", "tokens": 3, "promptLookupMax": 4, "promptLookupMin": 2}},
         ['--speculative-config={"method":"ngram","num_speculative_tokens":3,"prompt_lookup_max":4,'
          '"prompt_lookup_min":2}']),
        ({"speculative": {"method": "mtp", "tokens": 1}},
         ['--speculative-config={"method":"mtp","num_speculative_tokens":1}']),
        ({"ropeScaling": {"type": "yarn", "factor": 4, "originalMaxPositionEmbeddings": 32768}},
         ['--hf-overrides={"rope_parameters":{"rope_type":"yarn","factor":4.0,'
          '"original_max_position_embeddings":32768}}']),
        ({"ropeScaling": {"type": "llama3", "factor": 2.5}},
         ['--hf-overrides={"rope_parameters":{"rope_type":"llama3","factor":2.5,"low_freq_factor":1.0,'
          '"high_freq_factor":4.0}}']),
        ({"toolCallParser": "hermes"}, ["--enable-auto-tool-choice", "--tool-call-parser=hermes"]),
        ({"reasoningParser": "qwen3"}, ["--reasoning-parser=qwen3"]),
        ({"structuredOutputs": {}}, []),
        ({"structuredOutputs": {"backend": "guidance", "enableInReasoning": True}},
         ['--structured-outputs-config={"backend":"guidance","enable_in_reasoning":true}']),
        ({"maxNumBatchedTokens": 512, "chunkedPrefill": True},
         ["--max-num-batched-tokens=512", "--enable-chunked-prefill"]),
        ({"chunkedPrefill": False}, ["--no-enable-chunked-prefill"]),
    ],
)  # fmt: skip
def test_flags(engine, flags):
    assert option_flags(deployment(engine=engine).spec.engine, None) == flags


def test_a_path_is_not_expanded_by_the_kubelet():
    engine = deployment(engine=guessing("pvc://drafts/$(HOME)")["engine"]).spec.engine
    [flag] = option_flags(engine, "/mnt/draft/$(HOME)")
    assert flag.endswith('"model":"/mnt/draft/$$(HOME)"}')


def guessing(uri: str, model: str = "hf://org/model", **draft):
    speculative = {"method": "draft_model", "tokens": 3, "model": {"uri": uri} | draft}
    return {"model": {"uri": model}, "engine": {"speculative": speculative}}


def pod(**spec):
    desired = desire(deployment(**spec), LLAMA_8B, Observed())
    assert isinstance(desired, Desired), desired
    return desired.template["spec"]


def draft_of(found) -> str:
    [flag] = [arg for arg in found["containers"][0]["args"] if arg.startswith("--speculative-config=")]
    return json.loads(flag.partition("=")[2])["model"]


def test_a_draft_is_fetched_after_the_model_into_the_same_cache():
    found = pod(**guessing("hf://org/small", revision="v1", credentialsSecret="hub"))
    names = [container["name"] for container in found["initContainers"]]
    assert names == ["fetch", "fetch-draft"]
    fetch = found["initContainers"][1]
    path = draft_of(found)
    assert path.startswith("/mnt/cache/models/org-small-v1-")
    assert {"--uri=hf://org/small", "--revision=v1", f"--to={path}"} <= set(fetch["args"])
    assert {"name": "hub", "key": "HF_TOKEN"} in [
        entry["valueFrom"]["secretKeyRef"] for entry in fetch["env"] if "secretKeyRef" in entry.get("valueFrom", {})
    ]
    assert "HF_TOKEN" not in [entry["name"] for entry in found["initContainers"][0]["env"]], "it is the draft's alone"
    assert [volume["name"] for volume in found["volumes"]].count("cache") == 1
    assert [mount["mountPath"] for mount in found["containers"][0]["volumeMounts"]].count("/mnt/cache") == 1


def test_the_same_weights_have_one_place():
    found = pod(**guessing("hf://org/model"))
    [model] = [arg for arg in found["containers"][0]["args"] if arg.startswith("--model=")]
    assert draft_of(found) == model.removeprefix("--model=")


@pytest.mark.parametrize(
    ("uri", "source", "path"),
    [
        (
            "pvc://drafts/small",
            {"persistentVolumeClaim": {"claimName": "drafts", "readOnly": True}},
            "/mnt/draft/small",
        ),
        ("file:///srv/small", {"hostPath": {"path": "/srv/small", "type": "Directory"}}, "/mnt/draft"),
        ("oci://r/small:1#m", {"image": {"reference": "r/small:1"}}, "/mnt/draft/m"),
    ],
)
def test_a_draft_is_mounted_beside_the_model(uri, source, path):
    found = pod(**guessing(uri, model="file:///srv/model"))
    assert "initContainers" not in found
    assert draft_of(found) == path
    assert {"name": "draft"} | source in found["volumes"]
    assert {"name": "draft", "mountPath": "/mnt/draft", "readOnly": True} in found["containers"][0]["volumeMounts"]


def test_only_a_draft_is_fetched_where_the_model_is_mounted():
    spec = guessing("s3://bucket/small", model="pvc://models/a")
    spec["model"]["cache"] = {"hostPath": "/var/cache/manta"}
    found = pod(**spec)
    assert [container["name"] for container in found["initContainers"]] == ["cache-owner", "fetch-draft"]
    assert "cache" in [volume["name"] for volume in found["volumes"]]


def test_images_of_both_have_their_pull_secrets():
    spec = guessing("oci://r/small:1", model="oci://r/model:1", credentialsSecret="b")
    spec["model"]["credentialsSecret"] = "a"
    assert pod(**spec)["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]


def test_notes_are_decisions_of_the_plan():
    desired = desire(deployment(accelerator={"type": "cpu"}, engine={"kvCacheDtype": "fp8"}), None, Observed())
    assert isinstance(desired, Desired)
    assert "EngineOption" in [each.reason for each in desired.plan.decisions]


def test_a_length_that_the_model_has_not_deploys_nothing():
    refused = desire(deployment(engine={"maxModelLen": 10**6}), LLAMA_8B, Observed())
    assert isinstance(refused, tuple)
    assert "ropeScaling" in str(refused[0])


@pytest.mark.parametrize(("seconds", "flags"), [(300, []), (900, ["--hang-seconds=900"])])
def test_an_older_launcher_is_told_of_a_hang_only_where_it_is_asked_for(seconds, flags):
    # Stored objects keep the image of the day they were made, and a flag that it does not know ends it.
    args = pod(engine={"hangSeconds": seconds})["containers"][0]["args"]
    assert [arg for arg in args if arg.startswith("--hang")] == flags


@pytest.mark.parametrize(
    ("engine", "asked"),
    [
        ({"ropeScaling": {"type": "yarn", "factor": 2}}, ["--complete-hf-overrides"]),
        ({"args": ['--hf-overrides={"rope_parameters":{"rope_type":"yarn","factor":2.0}}']}, []),
    ],
)
def test_only_our_own_overrides_are_completed_by_the_launcher(engine, asked):
    args = pod(engine=engine)["containers"][0]["args"]
    own = args[: args.index("--")]
    assert [arg for arg in own if "hf-overrides" in arg] == asked
