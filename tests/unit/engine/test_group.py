"""The group state machine: who joined, who is missing, who was lost."""

from dataclasses import replace

import pytest

from manta_runtime.engine.adapters import Copy
from manta_runtime.engine.group import (
    SILENCE_SECONDS,
    Group,
    JoinRequest,
    Refusal,
    answer_of,
    copies_of_others,
    describe_silent,
    describe_waiting,
    forgive,
    join,
    lose_silent,
    parse_join,
    state_of,
)

EMPTY = Group(epoch="e1", size=3, pod_prefix="tiny-ab12-0")


def asks(rank: int, stage: str = "joined", epoch: str = "e1", instance: str = "i1", why: str = "") -> JoinRequest:
    return JoinRequest(rank, f"10.0.0.{rank}", f"tiny-ab12-0-{rank}", epoch, instance, stage, why=why)


def joined(group: Group, *requests: JoinRequest, now: float = 0.0) -> Group:
    for request in requests:
        group, refusal = join(group, request, now)
        assert refusal is None
    return group


def test_ranks_are_missing_until_they_say_joined():
    assert EMPTY.missing == (1, 2)
    waiting = joined(EMPTY, asks(2, stage="waiting", epoch=""))
    assert waiting.missing == (1, 2)
    assert joined(waiting, asks(2)).missing == (1,)
    assert joined(waiting, asks(2), asks(1)).missing == ()


def test_waiting_message_names_rank_pod_and_time():
    group = joined(EMPTY, asks(2))
    assert describe_waiting(group, 20.4, 1800) == (
        "waiting for 1 of 3 ranks: missing rank 1 (tiny-ab12-0-1), 20 s of 1800 s"
    )
    assert "missing ranks 1 (tiny-ab12-0-1), 2 (tiny-ab12-0-2)" in describe_waiting(EMPTY, 1, 2)


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (asks(0), 400, "rank 0 is not in this group of 3"),
        (asks(3), 400, "rank 3 is not in this group of 3"),
        (asks(1, epoch="old"), 409, "the head started again"),
    ],
)
def test_refused_joins_leave_the_group_as_it_was(request_, status, words):
    group, refusal = join(EMPTY, request_, 0.0)
    assert group == EMPTY
    assert refusal is not None
    assert refusal.status == status
    assert words in refusal.message


def test_a_rank_that_restarts_before_it_joined_takes_its_place_again():
    group = joined(EMPTY, asks(1, stage="waiting", epoch="", instance="first"))
    group = joined(group, asks(1, instance="second"))
    assert [member.instance for member in group.members] == ["second"]
    assert not group.lost


def test_a_rank_that_restarts_after_it_joined_loses_the_group():
    group, refusal = join(joined(EMPTY, asks(1)), asks(1, stage="waiting", epoch="", instance="second"), 1.0)
    assert refusal is not None
    assert refusal.status == 409
    assert group.lost == "rank 1 (tiny-ab12-0-1) restarted after it had joined"


def test_silence_loses_the_group_only_past_the_limit_and_only_once_joined():
    group = joined(EMPTY, asks(1), asks(2, stage="waiting"), now=100.0)
    assert not lose_silent(group, 100 + SILENCE_SECONDS).lost
    lost = lose_silent(group, 101 + SILENCE_SECONDS).lost
    assert lost == "rank 1 (tiny-ab12-0-1) has been silent for 21 s"


def test_a_join_is_a_heartbeat_and_the_heads_own_sleep_is_forgiven():
    group = joined(EMPTY, asks(1), now=0.0)
    assert not lose_silent(joined(group, asks(1), now=30.0), 40.0).lost
    assert not lose_silent(forgive(group, 30.0), 40.0).lost
    assert lose_silent(group, 40.0).lost


def test_leaving_ranks_still_count_as_present():
    group = joined(EMPTY, asks(1), asks(2, stage="leaving"))
    assert group.leaving == (2,)
    assert group.missing == ()


def test_the_token_is_in_the_answer_and_not_in_the_state():
    group = replace(joined(EMPTY, asks(1)), address="10.0.0.1:6379", token="s3cret")
    assert answer_of(group)["token"] == "s3cret"
    state = state_of(group)
    assert "s3cret" not in str(state)
    assert state["missing"] == [2]
    assert state["members"] == [{"rank": 1, "podIp": "10.0.0.1", "podName": "tiny-ab12-0-1", "stage": "joined"}]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "rank must be a number"),
        ({"rank": True, "stage": "joined"}, "rank must be a number"),
        ({"rank": 1, "stage": "asleep"}, "stage must be"),
        ({"rank": 1, "stage": "joined", "epoch": 7}, "epoch must be a string"),
    ],
)
def test_malformed_joins_say_what_is_wrong(body, words):
    refusal = parse_join(body)
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400
    assert words in refusal.message


def test_a_join_is_read():
    body = {"rank": 1, "podIp": "10.0.0.1", "podName": "p", "epoch": "", "instance": "i", "stage": "waiting"}
    assert parse_join(body) == JoinRequest(1, "10.0.0.1", "p", "", "i", "waiting")


def test_a_failed_rank_loses_the_group_at_once():
    group = joined(EMPTY, asks(1), asks(1, stage="failed"))
    assert group.lost == "rank 1 (tiny-ab12-0-1) ended: see its log"
    assert group.members == (), "nobody waits for it any more"
    group = joined(EMPTY, asks(1), asks(1, stage="failed", why="Ray ended with code 1"))
    assert group.lost == "rank 1 (tiny-ab12-0-1) ended: Ray ended with code 1"


def test_a_rank_that_fails_before_it_knew_the_head_loses_nothing():
    group, refusal = join(EMPTY, asks(1, stage="failed", epoch=""), 0.0)
    assert refusal is None
    assert group == EMPTY


def test_a_rank_that_has_told_nothing_of_adapters_has_none():
    body = {"rank": 2, "podIp": "", "podName": "p", "epoch": "", "instance": "i", "stage": "joined"}
    request = parse_join(body | {"adapters": {"k": {"state": "has", "revision": "c0ffee", "message": ""}}})
    assert copies_of_others(joined(EMPTY, request)) == {1: {}, 2: {"k": Copy("has", "c0ffee")}}
    assert parse_join(body | {"adapters": {"k": "has"}}).status == 400


def test_who_has_missed_some_joins_is_named():
    group = joined(EMPTY, asks(1), now=10.0)
    assert describe_silent(group, 12.0) == ""
    assert describe_silent(group, 14.0) == "; nothing was heard of rank 1 (tiny-ab12-0-1) for 4 s"
