"""Who is pruned first, and that a scale-down never takes what serves below what is needed."""

import pytest
from groups import bodies, group, stopped
from hypothesis import given
from hypothesis import strategies as st

from manta_operator.planning.fit import Fit
from manta_operator.planning.observe import observe
from manta_operator.planning.plan import Circumstances, Deadlines, Wish, plan
from manta_operator.planning.search import Choice
from manta_operator.planning.shape import Shape
from manta_operator.planning.victims import REQUEST_TOKENS, Loss, order

NOW = 10_000.0
CHOICE = Choice(Shape(1, 1, 1, "uni"), Fit("True", "it fits"))


def made(*groups):
    return observe(*bodies(*groups), [], NOW)


def first(*groups, broken=frozenset(), loads=None, losses=None):
    ordered = order(made(*groups).groups, broken, loads, losses)
    return [each.name.removeprefix("demo-new-") for each in ordered]


def new(index, **how):
    return group("new", index, **how)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({"demo-new-0": Loss(9, 0.0), "demo-new-1": Loss(3, 0.0)}, ["1", "0"]),
        ({"demo-new-0": Loss(3, 0.0), "demo-new-1": Loss(3, 50_000.0)}, ["0", "1"]),
        ({"demo-new-0": Loss(9, 0.0), "demo-new-1": Loss(0, 8 * REQUEST_TOKENS)}, ["1", "0"]),
        ({"demo-new-0": Loss(9, 0.0), "demo-new-1": Loss(0, 10 * REQUEST_TOKENS)}, ["0", "1"]),
        ({"demo-new-0": Loss(1, 0.0)}, ["1", "0"]),
        ({}, ["1", "0"]),
    ],
    ids=["less to finish", "an emptier cache", "a small cache is cheaper than its load", "a large one is not",
         "one that says nothing is idle", "nobody says anything: the younger"],
)  # fmt: skip
def test_the_cheapest_to_lose_goes_first(losses, expected):
    assert first(new(0), new(1), losses=losses) == expected


def test_what_does_not_serve_goes_before_anything_that_does():
    groups = (new(0), new(1, ready=False), stopped(new(2), NOW - 500))
    dear = {"demo-new-1": Loss(99, 1e9), "demo-new-2": Loss(99, 1e9)}
    assert first(*groups, broken=frozenset({"demo-new-2"}), losses=dear) == ["2", "1", "0"]


def test_losses_take_the_place_of_loads():
    loads = {"demo-new-0": 0, "demo-new-1": 5}
    assert first(new(0), new(1), loads=loads) == ["0", "1"]
    assert first(new(0), new(1), loads=loads, losses={"demo-new-0": Loss(1, 9e4)}) == ["1", "0"]


def test_a_plan_that_knows_the_losses_asks_for_nothing_more():
    observed = made(new(0), new(1))
    known = Circumstances(losses={"demo-new-0": Loss(0, 0.0), "demo-new-1": Loss(4, 0.0)})
    asking, knowing = (
        plan("demo", Wish(1), Deadlines(), CHOICE, "new", observed, circumstances)
        for circumstances in (Circumstances(), known)
    )
    assert asking.wants == {"loads"}
    assert not knowing.wants
    assert [each.name for each in knowing.prune] == ["demo-new-0"]


def test_a_scale_down_says_what_is_lost():
    known = Circumstances(losses={"demo-new-0": Loss(2, 3000.4), "demo-new-1": Loss(9, 0.0)})
    found = plan("demo", Wish(1), Deadlines(), CHOICE, "new", made(new(0), new(1)), known)
    assert (
        "1 replica is asked for: demo-new-0 is pruned and drains; least is lost with it: 2 requests to finish, and a "
        "prefix cache that saved 3000 tokens of prompts in 300 s" in [each.message for each in found.decisions]
    )


STATES = st.sampled_from(["serves", "starts", "was disrupted", "crashes"])


def member(revision, index, state):
    if state == "was disrupted":
        return stopped(group(revision, index), NOW - 20)
    found = group(revision, index, ready=state == "serves", created=NOW - 600)
    if state == "crashes":
        found.pods[0]["status"]["containerStatuses"][0]["restartCount"] = 5
    return found


@given(
    st.lists(STATES, max_size=6),
    st.lists(STATES, max_size=4),
    st.integers(1, 6),
    st.dictionaries(st.sampled_from([f"demo-new-{index}" for index in range(6)]), st.builds(Loss, st.integers(0, 50))),
)
def test_a_scale_down_leaves_as_many_serving_as_are_asked_for(new_states, old_states, asked, losses):
    """Amid a rollout, with replicas disrupted, starting or broken: what serves falls to what is asked for, not below.

    A rollout may take one more where it may not surge; that is its own limit, and not one of the scale-down.
    """
    groups = [member("new", index, state) for index, state in enumerate(new_states)]
    groups += [member("old", index, state) for index, state in enumerate(old_states)]
    observed = made(*groups)
    wish = Wish(asked, surge=1, unavailable=0)
    found = plan("demo", wish, Deadlines(), CHOICE, "new", observed, Circumstances(losses=losses))
    gone = {each.name for each in found.prune}
    serving = sum(each.ready for each in observed.groups)
    left = sum(each.ready and each.name not in gone for each in observed.groups)
    assert left >= min(serving, asked)
