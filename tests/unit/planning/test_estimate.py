"""An estimate holds its value within its bounds, and sums keep that."""

import pytest

from manta_operator.planning.estimate import Estimate


def test_bounds_are_a_share_of_the_value_either_way() -> None:
    assert Estimate.within(-200.0, 0.02) == Estimate(-200.0, -204.0, -196.0)


def test_a_sum_is_as_uncertain_as_its_parts_together() -> None:
    assert Estimate(10.0, 9.0, 12.0) + Estimate.within(5.0, 0.0) == Estimate(15.0, 14.0, 17.0)


def test_bounds_that_do_not_hold_the_value_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3\.0 does not lie between 4\.0 and 5\.0"):
        Estimate(3.0, 4.0, 5.0)
