"""The whole status: what the API server takes, what is kept where nothing can be planned, what an HPA counts."""

import pytest
from make import LLAMA_8B, deployment

from manta_operator.api.crd import llmdeployment_schema
from manta_operator.builders.desired import Desired, desire
from manta_operator.planning.autoscale import Learned, Scaling, told
from manta_operator.planning.conditions import Situation
from manta_operator.planning.fit import Fit
from manta_operator.planning.integrations import POD_MONITOR, absent
from manta_operator.planning.observe import Observed
from manta_operator.planning.plan import Decision, Plan
from manta_operator.planning.problems import Failure, Problem
from manta_operator.planning.shape import Shape
from manta_operator.planning.status import status, unreadable
from manta_operator.scaling import decide as scaling

NOW = "2026-11-21T08:00:00Z"
LONG = "x" * 50_000
DEMO = deployment()
BODY = {
    "apiVersion": "manta.dev/v1alpha1",
    "kind": "LLMDeployment",
    "metadata": {"name": "demo", "namespace": "default", "generation": 1},
    "spec": {"model": {"uri": "hf://a/b"}, "accelerator": {"type": "cpu"}},
}


def planned() -> Plan:
    desired = desire(DEMO, LLAMA_8B, Observed())
    assert isinstance(desired, Desired)
    return desired.plan


def situation(plan=None, **more) -> Situation:
    problems = () if plan else (Problem("spec.x", "is wrong", "mend it"),)
    return Situation(1, 1, plan, more.pop("problems", problems), Observed(), **more)


def refused(value):
    schema = llmdeployment_schema()
    body = BODY | {"status": value}
    pruned, unknown = schema.prune(body)
    return [*unknown, *map(str, schema.validate(schema.default(pruned)))]


SCALED = scaling.Decision(3, LONG, {"need": 2.5}, "need")
TOLD = told({"autoscaling": told({}, None, 1, Learned(), NOW)}, SCALED, 3, Learned(0.9, 61.5), NOW)
SCALING = Scaling(TOLD, 1, 4, fault=LONG, owner=LONG)
ENDLESS = Plan(
    Shape(1, 1, 1, "uni"), Fit("True", LONG), "a" * 8, (), (), tuple(Decision("Shaped", LONG) for _ in range(99))
)


@pytest.mark.parametrize(
    "given",
    [
        situation(planned()),
        situation(),
        situation(problems=tuple(Problem(f"spec.x{i}", LONG, LONG) for i in range(99))),
        situation(ENDLESS, failures=(Failure("Forbidden", LONG),), next_try=NOW, integrations=(absent(POD_MONITOR),)),
        situation(model_error=LONG),
        situation(planned(), scaling=SCALING),
    ],
    ids=["planned", "not planned", "many problems", "long words", "a broken checkpoint", "autoscaled"],
)
def test_the_api_server_takes_every_status(given):
    assert refused(status(DEMO, given, {}, NOW)) == []


def test_the_api_server_takes_what_is_said_of_an_unreadable_spec():
    assert refused(unreadable(LONG, BODY, NOW)) == []


def test_the_same_situation_gives_the_same_status():
    first = status(DEMO, situation(planned()), {}, NOW)
    assert status(DEMO, situation(planned()), first, "2026-11-21T09:00:00Z") == first


def test_what_is_known_of_the_replicas_outlives_a_spec_that_cannot_be_planned():
    before = status(DEMO, situation(planned()), {}, NOW)
    after = status(DEMO, situation(), before, NOW)
    for field in ("revision", "plan", "shape", "fit"):
        assert after[field] == before[field]
    assert "decisions" not in after


def test_an_hpa_counts_heads():
    assert status(DEMO, situation(planned()), {}, NOW)["selector"] == (
        "manta.dev/deployment=demo,app.kubernetes.io/component=engine,apps.kubernetes.io/pod-index=0"
    )


def test_the_endpoint_is_the_service():
    demo = deployment(router={"port": 80})
    assert status(demo, situation(planned()), {}, NOW)["endpoint"] == "http://demo.default.svc:80/v1"


@pytest.mark.parametrize(
    ("hostnames", "endpoint"),
    [((), ""), (("*.example.com",), ""), (("*.example.com", "llm.example.com"), "http://llm.example.com/v1")],
)
def test_the_endpoint_behind_a_gateway_is_its_first_host(hostnames, endpoint):
    gateway = {"parentRefs": [{"name": "edge"}], "hostnames": hostnames}
    demo = deployment(router={"mode": "inference-pool"}, gateway=gateway)
    assert status(demo, situation(planned()), {}, NOW)["endpoint"] == endpoint
