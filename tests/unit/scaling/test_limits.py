"""When a need moves the number of replicas, and how far."""

import pytest

from manta_operator.scaling.limits import limited
from manta_operator.scaling.settings import Behaviour, Estimate, Settings
from manta_operator.scaling.signals import Demand, Replicas, Signals
from manta_operator.scaling.state import State

SETTINGS = Settings(Estimate(1e3, 1e3), most=100, behaviour=Behaviour(hold=60.0, down_share=1.0))
WATCHED = State(now=1000.0, since=0.0, hold=60.0)
"""For long enough to take something away."""


@pytest.mark.parametrize(
    ("asked", "need", "replicas"),
    [
        pytest.param(20, 20.9, 20, id="chance above"),
        pytest.param(20, 21.1, 22, id="more"),
        pytest.param(20, 18.1, 20, id="chance below"),
        pytest.param(20, 17.9, 18, id="fewer: as many as are needed, without a band"),
        pytest.param(20, 9.2, 10, id="far fewer"),
        pytest.param(2, 2.05, 2, id="chance at two"),
        pytest.param(2, 1.0, 2, id="just one, but is it?"),
        pytest.param(2, 0.9, 1, id="one"),
        pytest.param(1, 1.06, 2, id="two"),
    ],
)
@pytest.mark.parametrize("by", ["need", "held"])
def test_a_need_moves_the_number_by_whole_replicas_or_not_at_all(asked, need, replicas, by):
    signals = Signals(1000.0, Replicas(asked, asked), Demand(1e3, 1e5, 1e5, 1e3, in_flight=1), {})
    now, held = (need, 0.0) if by == "need" else (0.0, need)
    assert limited(SETTINGS, WATCHED, signals, now, held).replicas == replicas
