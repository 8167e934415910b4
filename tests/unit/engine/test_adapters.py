"""Which adapter is loaded, replaced or unloaded next, and what is told of each: tables, no files, no engine."""

from dataclasses import replace
from pathlib import Path

import pytest

from manta_runtime.engine.adapters import (
    TRIAL,
    Attempt,
    Copy,
    Step,
    View,
    after_failure,
    copies_json,
    decide,
    is_settled,
    look_at,
    parse_copies,
)
from manta_runtime.models.adapters_list import AdapterList, WantedAdapter

HAS = Copy("has", "c0ffee")


def wanted(*names, key="k1"):
    adapters = (
        WantedAdapter(name, f"{name}-{key}", Path(f"/a/{name}-{key}"), True, f"hf://o/{name}") for name in names
    )
    return AdapterList("abc", tuple(adapters))


def view(*names, key="k1", ranks=1, copy=HAS, **more):
    """A view of a list whose adapters every rank has, and of a vLLM that has none."""
    found = wanted(*names, key=key)
    copies = {adapter.key: copy for adapter in found.adapters}
    return View(**{"wanted": found, "ranks": dict.fromkeys(range(ranks), copies), "listed": {}} | more)


def test_what_every_rank_has_is_loaded_in_the_lists_order():
    seen = view("b", "a", ranks=2)
    assert decide(seen, 0) == Step("load", "b", "/a/b-k1", "b-k1")
    assert decide(replace(seen, listed={"b": "/a/b-k1"}), 0) == Step("load", "a", "/a/a-k1", "a-k1")
    assert decide(replace(seen, listed={"b": "/a/b-k1", "a": "/a/a-k1"}), 0) is None


@pytest.mark.parametrize(
    ("copy", "state", "words"),
    [
        (Copy("missing"), "Waiting", "rank 1 has said nothing"),
        (Copy("fetching", bytes=1, total=4), "Fetching", "rank 1: it is being fetched"),
        (Copy("failed", message="the disk is full"), "Failed", "rank 1: the disk is full"),
        (Copy("has", "decade"), "Failed", "rank 1 has decade, rank 0 has c0ffee"),
    ],
    ids=["missing", "fetching", "failed", "of another commit"],
)
def test_what_one_rank_lacks_is_not_loaded_and_said(copy, state, words):
    seen = view("a", ranks=2)
    seen = replace(seen, ranks={0: seen.ranks[0], 1: {"a-k1": copy}})
    assert decide(seen, 0) is None
    (told,) = look_at(seen)
    assert told.state == state
    assert words in told.message
    assert is_settled(seen) == (state == "Failed")


def test_a_pod_alone_speaks_of_no_ranks_and_tells_bytes():
    (told,) = look_at(view("a", copy=Copy("fetching", bytes=3, total=9)))
    assert (told.state, told.bytes, told.total) == ("Fetching", 3, 9)
    assert "rank" not in told.message


def test_a_rank_that_has_told_nothing_is_waited_for():
    seen = replace(view("a"), ranks={0: {"a-k1": HAS}, 1: {}})
    assert decide(seen, 0) is None
    assert look_at(seen)[0].state == "Waiting"


def test_what_is_no_longer_wanted_is_unloaded_but_only_our_own():
    seen = view("a", listed={"a": "/a/a-k1", "old": "/a/old", "users": "/args"}, ours={"a": "/a/a-k1", "old": "/a/old"})
    assert decide(seen, 0) == Step("unload", "old", "/a/old", "/a/old")
    assert [(told.name, told.state) for told in look_at(seen)] == [("a", "Loaded"), ("old", "Unloading")]
    assert is_settled(seen)
    assert decide(replace(seen, listed={"a": "/a/a-k1", "users": "/args"}), 0) is None


def test_another_path_under_our_name_is_replaced():
    seen = view("a", key="k2", listed={"a": "/a/a-k1"}, ours={"a": "/a/a-k1"})
    assert decide(seen, 0) == Step("replace", "a", "/a/a-k2", "a-k2", old="/a/a-k1")


def test_a_new_revision_that_fails_says_that_the_one_of_before_answers():
    failed = {"a": Attempt("a-k2", 1, 50, "LoRA rank 32 is greater than max_lora_rank 16.")}
    seen = view("a", key="k2", listed={"a": "/a/a-k1"}, ours={"a": "/a/a-k1"}, attempts=failed)
    assert decide(seen, 49) is None
    (told,) = look_at(seen)
    assert (told.state, told.message) == (
        "Failed",
        "LoRA rank 32 is greater than max_lora_rank 16.; a of before still answers",
    )
    assert decide(seen, 50) == Step("replace", "a", "/a/a-k2", "a-k2", old="/a/a-k1")


def test_an_adapter_of_the_users_own_arguments_is_never_touched():
    seen = view("a", listed={"a": "/args/a"})
    assert decide(seen, 0) is None
    (told,) = look_at(seen)
    assert told.state == "Failed"
    assert "/args/a" in told.message
    assert "spec.engine.args" in told.message


def test_what_is_left_of_a_trial_is_removed():
    assert decide(view("a", listed={f"a{TRIAL}": "/a/a-k1"}), 0) == Step("unload", f"a{TRIAL}", "/a/a-k1", "/a/a-k1")


def test_an_adapter_that_fails_holds_no_other_up_and_stays_failed_while_it_is_tried():
    attempts = {"bad": Attempt("bad-k1", 2, 100, "header too small")}
    seen = view("bad", "good", attempts=attempts)
    assert decide(seen, 99) == Step("load", "good", "/a/good-k1", "good-k1")
    again = replace(seen, listed={"good": "/a/good-k1"})
    assert is_settled(again)
    step = decide(again, 100)
    assert step == Step("load", "bad", "/a/bad-k1", "bad-k1")
    assert look_at(replace(again, doing=step))[0].state == "Failed"


def test_a_first_load_is_told_as_loading():
    seen = view("a")
    assert look_at(seen)[0].state == "Waiting"
    assert look_at(replace(seen, doing=decide(seen, 0)))[0].state == "Loading"
    assert not is_settled(seen)


def test_failures_of_another_revision_do_not_count():
    seen = view("a", attempts={"a": Attempt("a-k0", 5, 1000, "no")})
    assert decide(seen, 0) == Step("load", "a", "/a/a-k1", "a-k1")


def test_tries_come_slower_and_slower():
    waits, attempt = [], None
    for _ in range(9):
        attempt = after_failure(attempt, "k", "no", 0)
        waits.append(attempt.again)
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert after_failure(attempt, "other", "no", 0).again == 10


def test_copies_come_back_as_they_were_told():
    copies = {"k1": HAS, "k2": Copy("failed", message="x" * 1000), "k3": Copy("missing")}
    found = parse_copies(copies_json(copies))
    assert found == copies | {"k2": Copy("failed", message="x" * 200)}


MANY = {f"k{n}": {"state": "has"} for n in range(101)}
NUMBER = {"k": {"state": "has", "revision": 5}}


@pytest.mark.parametrize(
    "data", [None, [], {"k": None}, {"k": {"state": "lost"}}, NUMBER, {"k" * 300: {"state": "has"}}, MANY]
)
def test_what_no_worker_of_ours_says_is_refused(data):
    assert isinstance(parse_copies(data), str)
