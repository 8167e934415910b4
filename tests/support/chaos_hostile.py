"""Everything pure in one go over random and hostile values: parse, observe, desire, judge, tell. `make hostile`.

Nothing of it may raise. What is built for an admitted spec without an overlay of its own (`podTemplate`) is valid
Kubernetes, strictly; what is written into the status is a status the CRD admits.
"""

import argparse
import functools
import json
import sys
import time
from collections import Counter
from typing import Any

import jsonschema
import kubernetes_validate.utils as kubernetes_schemas
import pydantic
from chaos_children import children
from chaos_specs import deployment_names, specs, statuses
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from referencing import Registry, Resource

from manta_operator.api.crd import llmdeployment_schema
from manta_operator.api.load import InvalidManifest, load
from manta_operator.api.models import LLMDeployment, parse
from manta_operator.builders.desired import Desired, desire
from manta_operator.facts.models import ModelFacts
from manta_operator.placement.room import Room
from manta_operator.planning.conditions import Situation
from manta_operator.planning.events import events
from manta_operator.planning.integrations import OPTIONAL_KINDS
from manta_operator.planning.observe import observe, slim
from manta_operator.planning.plan import Circumstances
from manta_operator.planning.previous import recall
from manta_operator.planning.problems import Failure
from manta_operator.planning.status import status, unreadable

Object = dict[str, Any]
UID = "11111111-1111-1111-1111-111111111111"
NOW = "2026-06-01T12:00:00Z"
OPTIONAL = {kind.kind for kind in OPTIONAL_KINDS}
"""Kinds of others, whose schemas are not Kubernetes' own."""
counted: Counter[str] = Counter()
_some_facts = st.one_of(
    st.none(),
    st.builds(
        ModelFacts,
        architecture=st.just("LlamaForCausalLM"),
        layers=st.sampled_from((1, 4, 80)),
        hidden_size=st.sampled_from((1, 256, 8192)),
        attention_heads=st.sampled_from((1, 7, 64)),
        kv_heads=st.sampled_from((1, 8)),
        head_dim=st.sampled_from((1, 128)),
        max_positions=st.sampled_from((None, 1, 131072)),
        dtype_bytes=st.sampled_from((2.0, 4.0)),
        quantization=st.sampled_from((None, "awq", "odd")),
        weights_bytes=st.sampled_from((None, 0, 8_000_000, 10**15)),
    ),
)
_some_circumstances = st.builds(
    Circumstances,
    room=st.one_of(st.none(), st.builds(Room, groups=st.sampled_from((0, 1, 9)), sentence=st.just("on 2 nodes"))),
    loads=st.one_of(st.none(), st.dictionaries(st.sampled_from(("demo-0a0a0a0a-0", "other")), st.integers(0, 9))),
)  # fmt: skip
_some_failures = st.lists(
    st.builds(Failure, st.sampled_from(("Forbidden", "Transient")), st.text(max_size=40)), max_size=2
)


@st.composite
def worlds(draw: st.DrawFn) -> Object:
    """A spec, a status, the children, and the rest of what a pass reads."""
    return {
        "name": draw(deployment_names()),
        "spec": draw(specs()),
        "status": draw(st.one_of(st.just({}), statuses())),
        "StatefulSet": draw(st.lists(children("StatefulSet", UID), max_size=3)),
        "Pod": draw(st.lists(children("Pod", UID), max_size=3)),
        "Deployment": draw(st.lists(children("Deployment", UID), max_size=1)),
        "facts": draw(_some_facts),
        "circumstances": draw(_some_circumstances),
        "failures": tuple(draw(_some_failures)),
        "lost": draw(st.sampled_from((frozenset(), frozenset({"lost"})))),
    }


def judge(world: Object) -> None:
    """One pass over a world. AssertionError, or whatever the core raises, if it does not hold."""
    metadata = {"name": world["name"], "namespace": "default"}
    manifest = {
        "apiVersion": "manta.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": metadata,
        "spec": world["spec"],
    }
    try:
        [body] = load(json.dumps(manifest), "-")
    except InvalidManifest:
        counted["refused"] += 1
        body = manifest  # an older CRD may have admitted it
        admitted = False
    else:
        counted["admitted"] += 1
        admitted = True
    body |= {"metadata": metadata | {"uid": UID, "generation": 2}, "status": world["status"]}
    try:
        deployment = parse(body)
    except pydantic.ValidationError as error:
        if admitted:
            raise AssertionError(f"admitted, but not understood: {error}") from error
        _check_status(world["status"], unreadable(str(error), body, NOW))
        return
    _judge(world, body, deployment, admitted=admitted)


def _judge(world: Object, body: Object, deployment: LLMDeployment, *, admitted: bool) -> None:
    seen = [[slim(kind, child) for child in world[kind]] for kind in ("StatefulSet", "Pod", "Deployment")]
    observed = observe(*seen, 1_780_000_000.0, world["lost"])
    before = body["status"]
    desired = desire(deployment, world["facts"], observed, recall(deployment.spec, before), world["circumstances"])
    planned = desired if isinstance(desired, Desired) else None
    counted["planned" if planned else "not planned"] += 1
    situation = Situation(
        replicas=deployment.spec.replicas,
        router_replicas=deployment.spec.router.replicas,
        plan=planned.plan if planned else None,
        problems=() if isinstance(desired, Desired) else desired,
        observed=observed,
        failures=world["failures"],
        next_try=NOW if world["failures"] else None,
        model_read=world["facts"] is not None,
        model_error=None,
        integrations=(),
    )
    after = status(deployment, situation, before, NOW)
    assert status(deployment, situation, after, NOW) == after, "the same again is another status"
    told = [events(one, other, observed.now) for one, other in ((before, after), (after, after), ({}, after))]
    assert told[1] == (), f"told although nothing changed: {told[1]}"
    if admitted:
        _check_status(before, after)
        if planned and not deployment.spec.pod_template:
            _check_objects(planned.objects)


def _check_objects(objects: tuple[Object, ...]) -> None:
    sets = [obj for obj in objects if obj["kind"] == "StatefulSet"]
    others = [obj for obj in objects if obj["kind"] not in OPTIONAL | {"StatefulSet"}]
    for obj in (*others, *sets[:1], *sets[-1:]):  # those between differ from these in their number alone
        note(f"{obj['kind']} {obj['metadata']['name']}")
        counted["objects"] += 1
        validator(obj["apiVersion"], obj["kind"]).validate(obj)


def _check_status(before: Object, after: Object) -> None:
    """Where the status was one the CRD admits, the new one is, too."""
    if not _refusals(before):
        assert not (wrong := _refusals(after)), f"the API server would refuse the status: {wrong}"


def _refusals(status: Object) -> list[str]:
    minimal = {"model": {"uri": "hf://a/b"}, "accelerator": {"type": "cpu"}}
    whole = {"apiVersion": "manta.dev/v1alpha1", "kind": "LLMDeployment", "metadata": {"name": "demo"}, "spec": minimal}
    schema = llmdeployment_schema()
    pruned, unknown = schema.prune(whole | {"status": status})
    errors = schema.validate(schema.default(pruned))
    return [*unknown, *(str(error) for error in errors if error.path.startswith("status"))]


@functools.cache
def validator(api_version: str, kind: str) -> Any:
    """What `kubernetes_validate.validate(…, strict=True)` makes anew for every object, made once."""
    group, _, version = api_version.rpartition("/")
    name = f"{kind.lower()}-{group.split('.')[0]}-{version}" if group else f"{kind.lower()}-{version}"
    folder = f"kubernetes-json-schema/v{_full_version()}-local-strict"
    read = kubernetes_schemas.schema_contents
    schema, definitions = (read(f"{folder}/{file}.json", _full_version()) for file in (name, "_definitions"))
    registry = Resource.from_contents(definitions) @ (Resource.from_contents(schema) @ Registry())
    return jsonschema.validators.Draft202012Validator(schema, registry=registry)


@functools.cache
def _full_version() -> str:
    return str(kubernetes_schemas.all_versions()[-1])


def run(examples: int) -> None:
    """Judge so many worlds, always the same; a failure is shrunk to a minimal one and raised."""
    quick = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    quick(given(worlds())(judge))()


def main() -> int:
    """`make hostile EXAMPLES=10000`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000)
    began = time.monotonic()
    run(parser.parse_args().examples)
    seconds = time.monotonic() - began
    sys.stdout.write(f"{dict(sorted(counted.items()))} in {seconds:.0f} s: nothing raised, every object valid\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
