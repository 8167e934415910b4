"""What the command line tells of spec.router: the plan, and the ports that `manta up` needs."""

import pytest
from make import TINY, deployment

from manta_operator.builders.desired import Desired, desire
from manta_operator.cli.manifests import Planned
from manta_operator.cli.plan_commands import print_plan
from manta_operator.cli.preflight import Machine, problems
from manta_operator.planning.observe import Observed

CPU = {"accelerator": {"type": "cpu"}}


def planned(**router):
    asked = deployment(**CPU, router=router)
    made = desire(asked, TINY, Observed())
    assert isinstance(made, Desired)
    return Planned("demo.yaml", {}, asked, TINY, made)


@pytest.mark.parametrize(
    ("router", "told"),
    [
        ({}, "2 x Envoy and endpoint picker, policy prefix, holds 1000 requests for 60 s each"),
        ({"hold": {"seconds": 0}, "replicas": 1}, "1 x Envoy and endpoint picker, policy prefix"),
        ({"hold": {"queueSize": 0}}, "2 x Envoy and endpoint picker, policy prefix"),
        (
            {"hold": {"seconds": 0}, "auth": {"secret": "keys"}, "tenants": [{"name": "a"}]},
            "2 x Envoy and endpoint picker, policy prefix, keys of Secret keys, 1 tenant with limits",
        ),
        (
            {"hold": {"seconds": 0}, "cache": {"size": "1Gi"}, "tracing": {"endpoint": "http://c:4318"}},
            "2 x Envoy and endpoint picker, policy prefix, response cache of 1Gi, traces to http://c:4318",
        ),
        (
            {"mode": "inference-pool", "hold": {"seconds": 0}},
            "2 x endpoint picker of an InferencePool, policy prefix",
        ),
    ],
)
def test_the_plan_says_what_is_switched_on(capsys, router, told):
    print_plan(planned(**router))
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines()[1:])
    assert lines["router"] == told
    assert ("endpoint" in lines) is (router.get("mode") != "inference-pool")


@pytest.mark.parametrize(
    ("router", "ports"),
    [
        ({}, set()),
        ({"cache": {"size": "64Mi"}}, set()),
        ({"mode": "inference-pool"}, {9005, 9006}),
    ],
)
def test_only_ports_that_are_used_have_to_be_free(router, ports):
    machine = Machine(memory=1 << 40, cores=64, taken=dict.fromkeys((9004, 9005, 9006), "is taken"))
    said = problems([planned(**router)], machine)
    assert {int(line.partition("port ")[2].split()[0]) for line in said} == ports
    assert all("container picker: port " in line for line in said)
