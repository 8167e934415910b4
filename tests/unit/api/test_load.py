"""Manifests that are refused, with every problem, its place and its remedy; and those that are not."""

import pytest

from manta_operator.api.load import InvalidManifest, load

HEAD = "apiVersion: manta.dev/v1alpha1\nkind: LLMDeployment\n"
NAME = "metadata: {name: tiny}\n"
SPEC = "spec: {model: {uri: 'hf://a/b'}, accelerator: {type: cpu}}\n"
GOOD = HEAD + NAME + SPEC
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n"
START = "start from examples/tiny.yaml"
EMPTY = f"f.yaml: is empty; {START}: apiVersion: manta.dev/v1alpha1, kind: LLMDeployment"
FIELDS = (
    "accelerator, autoscaling, engine, fit, gateway, model, monitoring, parallelism, podTemplate, replicas, rollout, "
    "router, scheduling"
)


def spec(text: str) -> str:
    return f"{HEAD}{NAME}spec:\n  model: {{uri: 'hf://a/b'}}\n  accelerator: {{type: cpu}}\n  {text}\n"


REFUSED = {
    "empty file": ("", [EMPTY]),
    "only comments": ("# nothing\n---\n", [EMPTY]),
    "tabs": (
        f"{HEAD}spec:\n\tmodel: 1\n",
        ["f.yaml: line 4, column 1: is not valid YAML: found character '\\t' that cannot start any token; "
         "indent with spaces: YAML does not allow tabs"],
    ),
    "not YAML": (
        "a: [1,\nb: {",
        ["f.yaml: line 2, column 5: is not valid YAML: expected the node content, but found '<stream end>'; "
         "check the indentation, the quotes and the colons at that place"],
    ),
    "control characters": (
        "a: \x01",
        ["f.yaml: is not valid YAML: unacceptable character #x0001: special characters are not allowed; "
         "remove what YAML does not allow"],
    ),
    "a key twice": (
        GOOD + "spec: {}\n",
        ["f.yaml: line 5, column 1: is not valid YAML: the key 'spec' is given twice in one mapping; "
         "remove one of the two"],
    ),
    "a key that is no text": (
        spec("1: x"),
        ["f.yaml: line 7, column 3: is not valid YAML: the key '1' is not text: put it in quotes; "
         "check the indentation, the quotes and the colons at that place"],
    ),
    "other objects only": (
        POD,
        [f"f.yaml: holds no LLMDeployment; {START}: apiVersion: manta.dev/v1alpha1, kind: LLMDeployment"],
    ),
    "another version": (
        GOOD.replace("v1alpha1", "v1"),
        ["f.yaml: apiVersion: unknown version 'manta.dev/v1'; write apiVersion: manta.dev/v1alpha1"],
    ),
    "no version": (
        GOOD.replace("apiVersion: manta.dev/v1alpha1\n", ""),
        ["f.yaml: apiVersion: missing; write apiVersion: manta.dev/v1alpha1"],
    ),
    "misspelt kind": (
        GOOD.replace("LLMDeployment", "LLMDeploment"),
        ["f.yaml: kind: unknown kind 'LLMDeploment'; write kind: LLMDeployment"],
    ),
    "kind in lower case": (
        GOOD.replace("LLMDeployment", "llmdeployment").replace("manta.dev/", "manta.io/"),
        ["f.yaml: apiVersion: unknown version 'manta.io/v1alpha1'; write apiVersion: manta.dev/v1alpha1",
         "f.yaml: kind: unknown kind 'llmdeployment'; write kind: LLMDeployment"],
    ),
    "neither": (
        NAME + SPEC,
        ["f.yaml: apiVersion and kind are missing; "
         "write apiVersion: manta.dev/v1alpha1 and kind: LLMDeployment as the first two lines"],
    ),
    "a list": ("- a\n", [f"f.yaml: must be a mapping with apiVersion, kind, metadata and spec, not a list; {START}"]),
    "a text": (
        "hello",
        [f"f.yaml: must be a mapping with apiVersion, kind, metadata and spec, not the text 'hello'; {START}"],
    ),
    "no name": (
        HEAD + SPEC,
        ["f.yaml: metadata.name: Required value; give the deployment a name, for example metadata: {name: tiny}"],
    ),
    "a number as name": (
        f"{HEAD}metadata: {{name: 3}}\n{SPEC}",
        ['f.yaml: metadata.name: must be text, not 3; put it in quotes: "3"'],
    ),
    "metadata is a list": (
        f"{HEAD}metadata: []\n{SPEC}",
        ["f.yaml: metadata: must be a mapping, not a list; write metadata: {name: …}"],
    ),
    "no spec": (
        HEAD + NAME,
        ["f.yaml: spec: Required value; say what to serve: spec: {model: {uri: …}, accelerator: {type: …}}"],
    ),
    "one name twice": (
        f"{GOOD}---\n{GOOD}",
        ["f.yaml: metadata.name: LLMDeployment 'tiny' is in this file more than once (namespace default); "
         "rename one of them, or remove it"],
    ),
    "an unknown field, nearly right": (
        spec("engine: {maxmodellen: 3}"),
        ['f.yaml: spec.engine.maxmodellen: unknown field "maxmodellen"; did you mean "maxModelLen"?'],
    ),
    "an unknown field in a list": (
        spec("engine: {env: [{name: A, val: B}]}"),
        ['f.yaml: spec.engine.env[0].val: unknown field "val"; did you mean "value"?'],
    ),
    "an unknown field, like none": (spec("foo: 1"), [f'f.yaml: spec.foo: unknown field "foo"; known here: {FIELDS}']),
    "a wrong type": (
        spec("replicas: two"),
        ['f.yaml: spec.replicas: Invalid value: spec.replicas in body must be of type integer: "string"'],
    ),
    "a fraction without quotes": (
        spec("engine: {resources: {cpu: 1.5}}"),
        ["f.yaml: spec.engine.resources.cpu: Invalid value: spec.engine.resources.cpu in body must be of type "
         'integer,string: "number"; put the number in quotes, for example "1.5"'],
    ),
    "a word that is not offered": (
        spec("engine: {dtype: bf16}"),
        ['f.yaml: spec.engine.dtype: Unsupported value: "bf16": supported values: "auto", "bfloat16", "float16", '
         '"float32"; did you mean "bfloat16"?'],
    ),
    "a rule": (
        spec("engine: {args: [--port=1]}"),
        ["f.yaml: spec.engine.args: Invalid value: Manta sets --port itself; use spec.router.port"],
    ),
    "everything at once, in the second document": (
        f"{POD}---\n{HEAD}spec: {{modle: 1, replicas: -1, accelerator: {{}}}}\n",
        ['f.yaml, document 2: spec.modle: unknown field "modle"; did you mean "model"?',
         "f.yaml, document 2: metadata.name: Required value; "
         "give the deployment a name, for example metadata: {name: tiny}",
         "f.yaml, document 2: spec.model: Required value; "
         "say which model to serve, for example model: {uri: hf://organisation/name}",
         "f.yaml, document 2: spec.replicas: Invalid value: -1: "
         "spec.replicas in body should be greater than or equal to 0",
         "f.yaml, document 2: spec.accelerator.type: Required value; "
         "say what to compute on, for example nvidia-h100-80gb, or cpu"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused(text: str, expected: list[str]) -> None:
    with pytest.raises(InvalidManifest) as caught:
        load(text, "f.yaml")
    assert [str(problem) for problem in caught.value.problems] == expected
    assert str(caught.value) == "\n".join(expected)


def test_admitted_bodies_have_their_defaults() -> None:
    [body] = load(GOOD, "f.yaml")
    assert body["metadata"] == {"name": "tiny"}
    assert (body["spec"]["router"]["replicas"], body["spec"]["engine"]["dtype"]) == (2, "auto")


def test_other_objects_are_left_alone() -> None:
    deployment = "apiVersion: apps/v1\nkind: Deployment\nspec: {what: ever}\n"
    assert len(load(f"---\n{POD}---\n{deployment}---\n{GOOD}", "f.yaml")) == 1


def test_one_name_in_two_namespaces_is_two_deployments() -> None:
    other = GOOD.replace("name: tiny", "name: tiny, namespace: other")
    assert len(load(f"{GOOD}---\n{other}", "f.yaml")) == 2


def test_anchors_and_merge_keys_work() -> None:
    text = spec("engine: &e {dtype: float32}").replace(
        "spec:", "spec:\n  podTemplate: {x: &b {c: 1}, y: {<<: *b, c: 2}}"
    )
    [body] = load(text, "f.yaml")
    assert body["spec"]["podTemplate"] == {"x": {"c": 1}, "y": {"c": 2}}


def test_json_is_yaml() -> None:
    text = '{"apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "metadata": {"name": "a"}, "spec": '
    assert len(load(text + '{"model": {"uri": "hf://a/b"}, "accelerator": {"type": "cpu"}}}', "f.json")) == 1


def test_labels_that_look_like_dates_stay_text() -> None:
    [body] = load(GOOD.replace("name: tiny", "name: tiny, labels: {since: 2026-01-01}"), "f.yaml")
    assert body["metadata"]["labels"] == {"since": "2026-01-01"}
