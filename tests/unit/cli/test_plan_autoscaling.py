"""What plan, up and the story of a box say of a deployment whose replicas follow the demand."""

import json
from pathlib import Path

import pytest
import yaml
from make import TINY

from manta_operator.api.load import load
from manta_operator.api.models import parse
from manta_operator.builders.desired import Desired, desire
from manta_operator.cli.manifests import Planned
from manta_operator.cli.preflight import Machine, problems, warnings
from manta_operator.cli.story import snapshot, tell
from manta_operator.planning.autoscale import asking, begin
from manta_operator.planning.observe import Observed

EXAMPLES = Path(__file__).parents[3] / "examples"
GIB = 2**30


def manifest(replicas=1, **autoscaling):
    body = yaml.safe_load((EXAMPLES / "tiny.yaml").read_text())
    body["spec"] |= {"replicas": replicas, "autoscaling": {"maxReplicas": 4} | autoscaling}
    return yaml.safe_dump(body)


def planned(text):
    (body,) = load(text, "a.yaml")
    deployment = asking(parse(body), begin(parse(body), {}))
    desired = desire(deployment, TINY, Observed())
    assert isinstance(desired, Desired)
    return Planned("a.yaml", body, deployment, TINY, desired)


@pytest.mark.parametrize(
    ("replicas", "autoscaling", "begun", "words"),
    [
        (1, {}, 1, "begins with 1, then 1 to 4 replicas as the demand asks"),
        (9, {}, 4, "begins with 4, then 1 to 4 replicas"),
        (0, {"minReplicas": 2}, 2, "begins with 2, then 2 to 4 replicas"),
        (0, {"minReplicas": 0}, 0, "none after 600 s without a request; the next one waits up to 900 s for one"),
    ],
)
def test_plan_says_where_it_begins_and_between_what(replicas, autoscaling, begun, words, manta, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(manifest(replicas, **autoscaling))
    assert words in " ".join(manta("plan", "-f", str(path)).stdout.split())
    (found,) = json.loads(manta("plan", "-f", str(path), "-o", "json").stdout)
    assert (found["replicas"], found["bounds"]) == (begun, [autoscaling.get("minReplicas", 1), 4])
    rendered = list(yaml.safe_load_all(manta("render", "-f", str(path)).stdout))
    assert sum(obj["kind"] == "StatefulSet" for obj in rendered) == begun


def test_without_autoscaling_plan_says_nothing_of_it(manta):
    shown = manta("plan", "-f", str(EXAMPLES / "llama-8b.yaml"), "-o", "json")
    (found,) = json.loads(shown.stdout)
    assert found["bounds"] is None


def test_up_warns_of_replicas_that_there_is_no_memory_for():
    entry = planned(manifest())
    few, many = Machine(3 * GIB, 8.0, {}), Machine(64 * GIB, 8.0, {})
    (line,) = warnings([entry], few)
    assert "spec.autoscaling.maxReplicas is 4, and this machine has memory for 1 (2.0 GiB for each)" in line
    assert warnings([entry], many) == []
    assert problems([entry], few) == [], "what it begins with fits"


def test_what_is_there_counts_for_what_is_shown():
    (body,) = load(manifest(), "a.yaml")
    body["status"] = {"autoscaling": {"replicas": 3}, "readyReplicas": 1}
    assert snapshot([body], []).deployments["tiny"].desired == 3


def test_a_box_tells_each_change_once_and_not_why_nothing_changes():
    (body,) = load(manifest(), "a.yaml")
    change = {"time": "2026-01-01T00:00:00Z", "fromReplicas": 1, "toReplicas": 3, "message": "from 1 to 3 replicas"}
    stays = {"reason": "Autoscaled", "message": "3 replicas stay: the load of now needs 2.6"}
    before = snapshot([body | {"status": {"autoscaling": {"replicas": 1}}}], [])
    after = snapshot(
        [body | {"status": {"autoscaling": {"replicas": 3, "changes": [change]}, "decisions": [stays]}}], []
    )
    assert [said for _, said in tell(before, after) if "decided" in said] == ["decided: from 1 to 3 replicas"]
    assert [said for _, said in tell(after, after) if "decided" in said] == []
