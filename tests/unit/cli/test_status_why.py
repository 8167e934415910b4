"""`manta status --why`: who rules the number of replicas, and what a decision was made from."""

import json
from datetime import UTC, datetime

import click
import pytest

from manta_operator.cli.picture import bounds, desired, summary
from manta_operator.cli.status_why import NUMBERS, plain, ruler, why
from manta_operator.scaling.decide import decide
from manta_operator.scaling.settings import Estimate, Settings
from manta_operator.scaling.signals import Demand, Replicas, Signals
from manta_operator.scaling.state import State

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
AUTOSCALING = {
    "replicas": 3,
    "reason": "Needed",
    "message": "from 2 to 3 replicas: the load of now needs 2.6",
    "time": "2026-01-01T11:59:00Z",
    "numbers": {"load": 2.1, "need": 2.6, "coldStart": 61.0, "later": 7.0},
    "changes": [
        {"time": "2026-01-01T11:59:00Z", "fromReplicas": 2, "toReplicas": 3, "reason": "Needed", "message": "up"},
        {"time": "2026-01-01T11:00:00Z", "fromReplicas": 4, "toReplicas": 2, "reason": "SteppingDown"},
    ],
}
FOLLOWING = {
    "type": "Autoscaled", "status": "True", "reason": "Following", "message": "from 2 to 3 replicas",
    "lastTransitionTime": "2026-01-01T09:00:00Z",
}  # fmt: skip


def body(wish=None, fields=(), **status):
    spec = {"model": {"uri": "hf://org/m"}, "accelerator": {"type": "cpu"}, "replicas": 1}
    spec |= {"autoscaling": wish} if wish else {}
    return {
        "metadata": {"name": "tiny", "namespace": "team", "managedFields": list(fields)},
        "spec": spec,
        "status": status,
    }


SCALED = body({"minReplicas": 1, "maxReplicas": 10}, autoscaling=AUTOSCALING, conditions=[FOLLOWING])


def wrote(manager, time, **more):
    return {"manager": manager, "time": time, "fieldsV1": {"f:spec": {"f:replicas": {}}}} | more


def test_it_tells_a_decision_its_numbers_its_signals_and_its_changes():
    assert [click.unstyle(line) for line in why(SCALED, NOW, None)] == [
        "team/tiny  3 replicas asked for",
        "  the demand rules, between 1 and 10 (spec.autoscaling); spec.replicas is not followed",
        "",
        "Decided 60s ago",
        "  Needed: from 2 to 3 replicas: the load of now needs 2.6",
        "",
        "From",
        "  NUMBER     VALUE  UNIT      MEANS",
        "  load         2.1  replicas  that the work of now fills entirely",
        "  need         2.6  replicas  for that work, for how it fluctuates, and for what waits",
        "  coldStart     61  s         from asking for a replica to its serving",
        "  later          7",
        "",
        "Signals",
        "  AUTOSCALED  SINCE  REASON     MESSAGE",
        "  True        3h     Following  from 2 to 3 replicas",
        "",
        "Changes, the newest first",
        "  TIME                  AGE  REPLICAS  REASON        MESSAGE",
        "  2026-01-01T11:59:00Z  60s  2 -> 3    Needed        up",
        "  2026-01-01T11:00:00Z  60m  4 -> 2    SteppingDown",
    ]


def test_every_number_of_a_decision_has_a_unit_and_a_meaning():
    seen = Signals(0.0, Replicas(1, 1), Demand(0.0, 0.0, 0.0, 0.0, 0))
    decided, _ = decide(Settings(Estimate(1000.0, 100.0)), State(), seen)
    assert set(decided.numbers) <= set(NUMBERS)


def test_one_replica_that_could_be_zero_says_what_keeps_it_and_no_sentence_comes_twice():
    told = AUTOSCALING | {"replicas": 1, "changes": []}
    wish = {"minReplicas": 0, "maxReplicas": 3, "scaleToZero": {"afterSeconds": 60}}
    again = FOLLOWING | {"message": told["message"]}
    lines = [click.unstyle(line) for line in why(body(wish, autoscaling=told, conditions=[again]), NOW, None)]
    assert lines[0] == "team/tiny  1 replica asked for"
    assert lines[2].startswith("  it goes to zero after 60 s without any request (scaleToZero.afterSeconds); where")
    assert sum("the load of now needs 2.6" in line for line in lines) == 1
    asleep = body(wish, autoscaling=told | {"replicas": 0})
    assert not any("it goes to zero" in line for line in why(asleep, NOW, None))
    default = body({"minReplicas": 0, "maxReplicas": 3}, autoscaling=told)
    assert any("after 600 s without any request" in line for line in why(default, NOW, None))


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width):
    plain_lines = [click.unstyle(line) for line in why(SCALED, NOW, width)]
    assert max(map(len, plain_lines)) <= width


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (body(), "spec.replicas rules: 1; with spec.autoscaling the demand would"),
        (
            body(fields=[wrote("helm", "2026-01-01T10:00:00Z"), wrote("kubectl", "2026-01-01T11:00:00Z")]),
            "spec.replicas rules: 1, written by kubectl at 2026-01-01T11:00:00Z; with",
        ),
        (
            body(fields=[wrote("kube-controller-manager", "2026-01-01T11:00:00Z", subresource="scale")]),
            "written by kube-controller-manager at 2026-01-01T11:00:00Z by the scale subresource (an HPA",
        ),
        (body({"maxReplicas": 4}), "is not followed; the operator has not"),
    ],
    ids=["nobody known", "two hands", "an HPA", "not looked at"],
)  # fmt: skip
def test_who_rules(given, words):
    assert words in ruler(given)


def test_what_was_decided_before_it_was_turned_off_rules_nothing():
    off = body(autoscaling=AUTOSCALING, conditions=[FOLLOWING])
    assert (desired(off), bounds(off)) == (1, None)
    assert len(why(off, NOW, None)) == 2


def test_when_it_was_left_out_under_load_it_tells_of_the_steps():
    said = {"type": "Autoscaled", "status": "False", "reason": "TurnedOff", "message": "8 replicas stay for now"}
    told = {"replicas": 8, "reason": "TurnedOff", "message": "8 replicas stay for now", "time": "2026-01-01T11:59:00Z"}
    lines = [click.unstyle(line) for line in why(body(autoscaling=told, conditions=[said]), NOW, None)]
    assert "  spec.replicas rules: 1; to be reached in steps, since spec.autoscaling was left out under load" in lines
    assert lines[0] == "team/tiny  8 replicas asked for"
    assert "  TurnedOff: 8 replicas stay for now" in lines
    assert any(line.split()[:1] == ["False"] and "TurnedOff" in line for line in lines)


def test_as_data():
    found = plain(SCALED)
    assert (found["desired"], found["bounds"], found["autoscaling"]) == (3, (1, 10), AUTOSCALING)
    assert found["condition"] == FOLLOWING
    assert plain(body())["autoscaling"] is None


def test_the_summary_has_the_number_asked_for_and_the_bounds():
    found = summary(SCALED)
    assert (found.desired, found.bounds) == (3, (1, 10))


def test_the_command(cluster, manta):
    kubeconfig = cluster.kubeconfig()
    cluster.deployment("tiny", status={"observedGeneration": 1})
    assert "spec.replicas rules" in manta("status", "tiny", "--why", kubeconfig=kubeconfig).stdout
    found = json.loads(manta("status", "tiny", "--why", "-o", "json", kubeconfig=kubeconfig).stdout)
    assert (found["name"], found["desired"], found["bounds"]) == ("tiny", 1, None)
    nameless = manta("status", "--why", kubeconfig=kubeconfig)
    assert (nameless.exit_code, "manta status NAME --why" in nameless.stderr) == (2, True)
