"""A router's document, whatever it may be: values of it, or none; and the newest look at each engine."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manta_operator.scaling.reading import MOST_ENGINES, engines, read

ENGINE = {
    "age": 0.4,
    "instance": "1",
    "waiting": 2,
    "running": 3,
    "kvUsage": 0.5,
    "promptTokens": 1000,
    "generatedTokens": 200.5,
    "firstToken": {"bounds": [0.1, 1.0], "counts": [4, 2, 1]},
    "betweenTokens": None,
    "inFlight": 5,
    "hitTokens": 300,
}
DOCUMENT = {
    "instance": "a1b2",
    "requests": 10,
    "tokensIn": 1000,
    "pairs": 5e5,
    "tokensOut": 200,
    "answers": 9,
    "inFlight": 1,
    "held": 0,
    "queueAge": 0.0,
    "usable": 1,
    "engines": {"demo-a-0": ENGINE},
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def changed(path, value):
    document = copy.deepcopy(DOCUMENT)
    place = document
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return document


def test_a_document_is_read_as_it_is():
    found = read(json.loads(json.dumps(DOCUMENT)))
    assert found.counts == (10.0, 1000.0, 200.0, 9.0, 5e5)
    assert (found.instance, found.in_flight, found.held, found.usable) == ("a1b2", 1, 0, 1)
    engine = found.engines["demo-a-0"]
    assert (engine.signals.waiting, engine.signals.generated_tokens, engine.in_flight) == (2, 200.5, 5)
    assert engine.signals.first_token.counts == (4, 2, 1)
    assert engine.signals.between_tokens is None


WRONG = [-1, float("nan"), float("inf"), 10**400, True, "7", None, [], {}]


@pytest.mark.parametrize("value", WRONG, ids=str)
@pytest.mark.parametrize("name", ["requests", "tokensIn", "tokensOut", "answers", "inFlight", "held", "queueAge"])
def test_one_wrong_number_makes_it_no_document(name, value):
    assert read(changed([name], value)) is None


@pytest.mark.parametrize("value", [None, [], "x", 7, {"requests": 1}], ids=str)
def test_what_is_no_document_is_none(value):
    assert read(value) is None


def test_more_engines_than_there_can_be_make_it_none():
    assert read(changed(["engines"], {str(n): ENGINE for n in range(MOST_ENGINES + 1)})) is None


@pytest.mark.parametrize("value", WRONG, ids=str)
@pytest.mark.parametrize("name", ["age", "waiting", "running", "kvUsage"])
def test_an_engine_that_makes_no_sense_is_left_out_and_no_more(name, value):
    found = read(changed(["engines", "demo-a-0", name], value))
    assert found.engines == {}
    assert found.counts[0] == 10


@pytest.mark.parametrize("value", WRONG, ids=str)
@pytest.mark.parametrize("name", ["promptTokens", "generatedTokens"])
def test_an_engine_that_counts_no_tokens_still_tells_what_waits(name, value):
    seen = read(changed(["engines", "demo-a-0", name], value)).engines["demo-a-0"].signals
    assert (seen.waiting, None in (seen.prompt_tokens, seen.generated_tokens)) == (2, True)


@pytest.mark.parametrize(
    "value",
    [
        {"bounds": [1.0, 0.1], "counts": [1, 1, 1]},
        {"bounds": [1.0], "counts": [1]},
        {"bounds": [1.0], "counts": [1, -1]},
        {"bounds": [1.0], "counts": [1, 0.5]},
        {"bounds": [], "counts": [1]},
        {"bounds": [float("nan")], "counts": [1, 1]},
        {"bounds": [1.0]},
        [1, 2],
    ],
    ids=str,
)
def test_a_histogram_that_makes_no_sense_is_missing(value):
    engine = read(changed(["engines", "demo-a-0", "firstToken"], value)).engines["demo-a-0"]
    assert engine.signals.first_token is None
    assert engine.signals.waiting == 2


PATHS = [[name] for name in DOCUMENT] + [["engines", "demo-a-0"]] + [["engines", "demo-a-0", name] for name in ENGINE]


@given(st.sampled_from(PATHS), ANYTHING)
def test_nothing_that_stands_anywhere_in_it_is_an_error(path, value):
    found = read(changed(path, value))
    assert found is None or all(count >= 0 for count in found.counts)


@given(ANYTHING)
def test_nothing_at_all_is_an_error(value):
    assert read(value) is None


def look(age, *, in_flight=0, waiting=0):
    engine = ENGINE | {"age": age, "inFlight": in_flight, "waiting": waiting}
    return read(changed(["engines", "demo-a-0"], engine))


def test_of_several_looks_the_newest_counts_and_the_requests_of_all():
    for documents in (
        [(look(6.0, in_flight=2, waiting=9), 0.0), (look(0.5, in_flight=4, waiting=1), 1.0)],
        [(look(0.5, in_flight=4, waiting=1), 1.0), (look(6.0, in_flight=2, waiting=9), 0.0)],
    ):
        engine = engines(documents)["demo-a-0"]
        assert (engine.age, engine.signals.waiting, engine.in_flight) == (1.5, 1, 6)


def test_of_looks_about_as_new_the_first_routers_counts():
    for ages in ((0.9, 0.1), (0.1, 0.9), (1.9, 0.0)):
        told = [(look(age, waiting=waiting), 0.0) for age, waiting in zip(ages, (1, 2), strict=True)]
        assert engines(told)["demo-a-0"].signals.waiting == 1


def test_a_look_that_is_too_old_is_missing():
    assert engines([(look(9.0), 0.5)]) != {}
    assert engines([(look(9.0), 1.5)]) == {}


@pytest.mark.parametrize(
    ("said", "counts"), [({}, True), ({"deployment": "ns/demo"}, True), ({"deployment": "ns/other"}, False),
                         ({"deployment": None}, False), ({"deployment": 7}, False)],
)  # fmt: skip
def test_a_router_that_calls_itself_another_deployments_is_none(said, counts):
    assert (read(DOCUMENT | said, "ns/demo") is not None) == counts
