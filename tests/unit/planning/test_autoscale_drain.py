"""Whether replicas that come and go have the time to finish their answers."""

import pytest
from make import LLAMA_8B, deployment

from manta_operator.builders.desired import Desired, desire
from manta_operator.planning.observed import Observed

WISH = {"maxReplicas": 4}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"autoscaling": WISH}, True),
        ({"autoscaling": WISH, "rollout": {"drainSeconds": 119}}, True),
        ({"autoscaling": WISH, "rollout": {"drainSeconds": 120}}, False),
        ({"autoscaling": WISH, "router": {"timeouts": {"requestSeconds": 30}}}, False),
        ({}, False),
    ],
    ids=["by default", "short", "long enough", "no answer takes longer", "no autoscaling"],
)
def test_a_drain_that_cuts_answers_is_told(spec, told):
    made = desire(deployment(accelerator={"type": "nvidia-h100-80gb"}, **spec), LLAMA_8B, Observed())
    assert isinstance(made, Desired)
    said = [each.message for each in made.plan.decisions if each.reason == "ShortDrain"]
    assert bool(said) == told
    assert all("set spec.rollout.drainSeconds" in message for message in said)
