"""Hypothesis strategies for LLMDeployments and for what may stand around them: random, broken on purpose, hostile.

Specs and statuses are drawn along the CRD's own schema, so that fields which come later are drawn too. One value in
`WRONG` is not what the schema asks for.
"""

import functools
from typing import Any

from hypothesis import strategies as st

from manta_operator.api.crd import open_api_schema

Schema = dict[str, Any]
WRONG = 40
WORDS = (
    "", " ", "a", "A", "-", "--", "--model", "--model=x", "--host=0.0.0.0", "a.b", "../../etc/passwd", "/", "//",
    "$(POD_IP)", "$(GROUP_HEAD)", "$$", "{{ x }}", "\n", "a\nb", "\x00", "\x7f", "\u2028", "\u202e", "ﷺ", "😀",
    "é" * 20, "ß", "İ", "null", "true", "1e999", "0x1", "NaN", "manta.dev/deployment", "a" * 63, "a" * 64, "a" * 300,
    "x" * 5000, "hf://a/b", "pvc://a", "file:///a", "default", "kube-system", "'", '"', "`", "\\", ": ", "#", "&a",
    "*a", "!!python/object", "%s%n", "-1", "0", "1", "127.0.0.1",
)  # fmt: skip
QUANTITIES = (
    "1",
    "500m",
    "1Gi",
    "64Mi",
    "0",
    "-1",
    "1e3",
    "9" * 25,
    "1Ki ",
    "1.5",
    ".5",
    "5.",
    "1E",
    "0x10",
    "1n",
    "٣",
)
NUMBERS = (0, 1, -1, 2, 7, 8, 1000, 65535, 65536, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 10**30)
TIMES = ("2026-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2026-01-01T00:00:00.123456Z", "2026-01-01T00:00:00+14:00",
         "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z")  # fmt: skip

words = st.one_of(st.sampled_from(WORDS), st.text(max_size=20))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.floats(allow_nan=False), words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=12,
)


@st.composite
def deep(draw: st.DrawFn) -> Any:
    """A value nested many times over."""
    value = draw(words)
    for _ in range(draw(st.integers(0, 120))):
        value = {"a": value} if draw(st.booleans()) else [value]
    return value


@st.composite
def along(draw: st.DrawFn, schema: Schema, wrong: int = WRONG) -> Any:
    """A value of a schema; one in `wrong` is anything at all (0: none is)."""
    if wrong and draw(st.integers(0, wrong)) == 0:
        return draw(json_values)
    if schema.get("enum"):
        return draw(st.sampled_from([value for value in schema["enum"] if value is not None]))
    if schema.get("x-kubernetes-int-or-string"):
        return draw(st.one_of(st.sampled_from(QUANTITIES), st.sampled_from(NUMBERS), st.sampled_from(("auto", 0, 1))))
    kind = schema.get("type")
    if kind == "object":
        return _object(draw, schema, wrong)
    if kind == "array":
        inner = along(schema["items"], wrong)
        return draw(st.lists(inner, min_size=schema.get("minItems", 0), max_size=min(schema.get("maxItems", 3), 3)))
    if kind == "boolean":
        return draw(st.booleans())
    if kind == "integer":
        low, high = int(schema.get("minimum", -(2**31))), int(schema.get("maximum", 2**31 - 1))
        return draw(st.one_of(st.integers(low, min(high, low + 4)), st.integers(low, high)))
    if kind == "number":
        return draw(st.floats(allow_nan=False, allow_infinity=False))
    return _string(draw, schema, wrong)


def _object(draw: st.DrawFn, schema: Schema, wrong: int) -> dict[str, Any]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return draw(pod_templates())
    if "additionalProperties" in schema:
        few = st.dictionaries(words, along(schema["additionalProperties"], wrong), max_size=3)
        return draw(few)
    made = {}
    for name, child in schema.get("properties", {}).items():
        if name in schema.get("required", ()) or draw(st.integers(0, 2)) == 0:
            made[name] = draw(along(child, wrong))
    if wrong and draw(st.integers(0, wrong)) == 0:
        made[draw(words)] = draw(json_values)
    return made


def _string(draw: st.DrawFn, schema: Schema, wrong: int) -> str:
    if schema.get("format") == "date-time":
        return draw(st.sampled_from(TIMES))
    pattern = schema.get("pattern")
    if pattern and (not wrong or draw(st.integers(0, 9))):
        return draw(_matching(pattern))[: schema.get("maxLength", 10**6)]
    word = draw(st.one_of(st.sampled_from(QUANTITIES), words))
    return word if wrong else word[: schema.get("maxLength", 10**6)].ljust(schema.get("minLength", 0), "x")


@functools.cache
def _matching(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern, fullmatch=True)


@st.composite
def pod_templates(draw: st.DrawFn) -> Any:
    """An overlay of the engines' pod template: none, a sensible one, a hostile one."""
    kind = draw(st.integers(0, 9))
    if kind < 4:
        return {}
    if kind == 4:
        return draw(st.dictionaries(words, deep(), max_size=2))
    spec = {}
    for name in draw(st.lists(st.sampled_from(sorted(_POD_FIELDS)), max_size=4, unique=True)):
        spec[name] = draw(st.one_of(st.sampled_from(_POD_FIELDS[name]), json_values) if kind > 6 else _sensible(name))
    metadata = draw(
        st.dictionaries(st.sampled_from(("labels", "annotations")), st.dictionaries(words, words, max_size=2))
    )
    return {"metadata": metadata, "spec": spec}


def _sensible(name: str) -> st.SearchStrategy[Any]:
    return st.sampled_from(_POD_FIELDS[name])


_ENGINE = {"name": "engine"}
_POD_FIELDS: dict[str, tuple[Any, ...]] = {
    "containers": (
        [_ENGINE | {"env": [{"name": "A", "value": "b"}]}],
        [_ENGINE | {"resources": {"limits": {"memory": "1Gi"}}}],
        [{"name": "side", "image": "i"}],
        [_ENGINE | {"ports": [{"containerPort": 9}], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        [_ENGINE | {"command": None, "args": []}],
        [],
    ),
    "initContainers": ([{"name": "first", "image": "i"}], [], [{"name": "engine", "image": "i"}]),
    "volumes": ([{"name": "v", "emptyDir": {}}], [{"name": "v", "secret": {"secretName": "s"}}]),
    "nodeSelector": ({"a": "b"}, {}),
    "tolerations": ([{"operator": "Exists"}], []),
    "affinity": ({}, {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}),
    "hostNetwork": (True, False),
    "terminationGracePeriodSeconds": (0, 30),
    "securityContext": ({"runAsUser": 1}, {}),
    "imagePullSecrets": ([{"name": "s"}],),
    "schedulerName": ("s",),
    "restartPolicy": ("Always",),
    "topologySpreadConstraints": ([],),
}


@st.composite
def _nearly_valid(draw: st.DrawFn) -> Any:
    """What the CRD admits as a rule: a valid spec with a few fields drawn along the schema."""
    spec = {
        "model": {"uri": draw(st.sampled_from(_URIS))},
        "accelerator": {"type": draw(st.sampled_from(_ACCELERATORS))},
    }
    properties = _schema("spec")["properties"]
    for name in draw(st.lists(st.sampled_from(sorted(properties)), max_size=4, unique=True)):
        drawn = draw(along(properties[name], 0))
        if name in spec:  # one field more, not another model
            drawn = {field: drawn[field] for field in sorted(drawn)[:2] if field not in spec[name]} | spec[name]
        elif isinstance(drawn, dict) and "additionalProperties" not in properties[name] and name != "podTemplate":
            drawn = dict(draw(st.permutations(sorted(drawn.items())))[:2])
        spec[name] = drawn
    return spec


_URIS = (
    "hf://org/model",
    "pvc://models/llama/8b",
    "pvc://models",
    "file:///srv/tiny",
    "hf://a/" + "b" * 60,
    "s3://models/llama/8b",
    "gs://models",
    "oci://registry.example.com/models/llama:8b#models",
)
_ACCELERATORS = ("cpu", "nvidia-h100-80gb", "nvidia-a100-80gb", "no-such-accelerator")


@st.composite
def specs(draw: st.DrawFn) -> Any:
    """Specs: most of them nearly valid, some random along the schema, some with values that are anything at all."""
    kind = draw(st.integers(0, 5))  # not one_of, which tries each of its branches equally often
    if kind < 4:
        return draw(_nearly_valid())
    return draw(along(_schema("spec"), WRONG if kind == 5 else 0))


def statuses() -> st.SearchStrategy[Any]:
    """Statuses others may have written."""
    return along(_schema("status"), 0)


@functools.cache
def _schema(part: str) -> Schema:
    return open_api_schema()["properties"][part]


@st.composite
def deployment_names(draw: st.DrawFn) -> str:
    """Names: a few are hostile."""
    return draw(words if draw(st.integers(0, 9)) == 9 else st.sampled_from(("demo", "a", "a" * 38, "x-1")))
