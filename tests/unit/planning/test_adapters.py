"""What the heads say of their adapters, what of it is told, and what the condition and the status make of it."""

import json
from dataclasses import replace

import pytest
from make import deployment

from manta_operator.api.status import LLMDeploymentStatus
from manta_operator.planning.adapters import (
    TELL_SECONDS,
    Answer,
    Heard,
    adapters_status,
    hear,
    lora_of,
    read_answers,
    standings,
    verdict,
)
from manta_operator.planning.observe import Observed, ObservedGroup, ObservedPod

SQL = Answer("hf://org/sql", "v1", "Loaded")
CHAT = Answer("s3://bucket/chat", "", "Loaded")
BOTH = {"sql": SQL, "chat": CHAT}
LISTED = [
    {"name": "sql", "uri": "hf://org/sql", "revision": "v1"},
    {"name": "chat", "uri": "s3://bucket/chat"},
]


def spec(adapters=tuple(LISTED), **engine):
    return deployment(model={"uri": "hf://org/model", "adapters": list(adapters)}, engine=engine).spec


def replica(index, revision="new", *, ready=True):
    name = f"demo-{revision}-{index}"
    heads = (ObservedPod(f"{name}-0", name, ready=ready, problem=None, uid=f"uid-{revision}-{index}"),)
    return ObservedGroup(name, f"g-{revision}-{index}", revision, index, pods=1, ready_pods=int(ready), members=heads)


def heard(**answers):
    return Heard({uid.replace("_", "-"): each for uid, each in answers.items()}, 0.0, 0.0)


def stands(groups, told, given=None):
    return standings(given or spec(), Observed(groups=tuple(groups)), told, "new")


def judge(groups, told, given=None):
    found = verdict(stands(groups, told, given))
    return found.status, found.reason, found.message


def failed(words):
    return replace(SQL, state="Failed", message=words)


@pytest.mark.parametrize(
    ("case", "groups", "told", "expected"),
    [
        (
            "all is loaded",
            [replica(0), replica(1)],
            heard(uid_new_0=BOTH, uid_new_1=BOTH),
            ("True", "AllLoaded", "2 of 2 adapters loaded on all of 2 replicas"),
        ),
        (
            "one failed on one of two replicas",
            [replica(0), replica(1)],
            heard(uid_new_0=BOTH, uid_new_1=BOTH | {"sql": failed("LoRA rank 64 is greater than max_lora_rank 16.")}),
            (
                "False",
                "AdapterFailed",
                "sql is Failed on pod demo-new-1-0: LoRA rank 64 is greater than max_lora_rank 16.; "
                "1 of 2 adapters loaded on all of 2 replicas, and the model itself is not affected",
            ),
        ),
        (
            "one is fetched",
            [replica(0)],
            heard(uid_new_0=BOTH | {"sql": replace(SQL, state="Fetching", bytes=2**20, total=4 * 2**20)}),
            (
                "False",
                "Loading",
                "sql is Fetching on pod demo-new-0-0: 25 % of 4.0 MiB are fetched; "
                "1 of 2 adapters loaded on all of 1 replica",
            ),
        ),
        (
            "the pod has another list",
            [replica(0)],
            heard(uid_new_0={"chat": CHAT}),
            (
                "False",
                "Loading",
                "sql is Waiting on pod demo-new-0-0: the pod has not seen the list that names it: a kubelet brings it "
                "within about a minute; 1 of 2 adapters loaded on all of 1 replica",
            ),
        ),
        (
            "the pod has another revision",
            [replica(0)],
            heard(uid_new_0=BOTH | {"sql": replace(SQL, revision="v0")}),
            (
                "False",
                "Loading",
                "sql is Waiting on pod demo-new-0-0: the pod still has hf://org/sql v0, not the new list: a kubelet "
                "brings it within about a minute; 1 of 2 adapters loaded on all of 1 replica",
            ),
        ),
        (
            "who serves does not answer",
            [replica(0), replica(1)],
            heard(uid_new_0=BOTH),
            (
                "Unknown",
                "NotKnown",
                "sql is Unknown on pod demo-new-1-0: it does not answer the operator; "
                "chat is Unknown on pod demo-new-1-0: it does not answer the operator; "
                "0 of 2 adapters loaded on all of 2 replicas",
            ),
        ),
        (
            "there is no replica",
            [],
            heard(),
            ("Unknown", "NoReplica", "there is no replica that could load the adapters"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_condition(case, groups, told, expected):
    assert judge(groups, told) == expected


def test_what_starts_is_not_known_and_a_failure_comes_first():
    groups = [replica(0, ready=False), replica(1)]
    assert judge(groups, None)[1:] == (
        "NotKnown",
        "sql is Unknown on pod demo-new-0-0 (and 1 more): the replica does not serve yet; "
        "chat is Unknown on pod demo-new-0-0 (and 1 more): the replica does not serve yet; "
        "0 of 2 adapters loaded on all of 2 replicas",
    )
    told = heard(uid_new_1={"sql": failed("no such file"), "chat": replace(CHAT, state="Loading")})
    assert judge(groups, told)[1] == "AdapterFailed"


def test_older_replicas_count_if_they_answer():
    """Those of before the first adapter have none and never will; those that have a list get this one, too."""
    groups = [replica(0, "old"), replica(0)]
    assert judge(groups, heard(uid_new_0=BOTH))[1] == "AllLoaded"
    assert judge(groups, heard(uid_new_0=BOTH, uid_old_0={"chat": CHAT}))[1] == "Loading"


def test_what_a_replica_of_before_cannot_load_is_nobodys_failure():
    """Its pods may lack the very claim that the new revision mounts."""
    told = heard(uid_new_0=BOTH, uid_old_0=BOTH | {"sql": failed("there is no folder")})
    status, reason, message = judge([replica(0, "old"), replica(0)], told)
    assert (status, reason) == ("False", "Loading")
    assert "sql is Waiting on pod demo-old-0-0: there is no folder; the rollout replaces this replica" in message


def test_the_status_names_replicas_in_trouble_first_and_stays_small():
    groups = [replica(index) for index in range(300)]
    told = heard(**{f"uid_new_{index}": BOTH for index in range(300)})
    told = replace(told, answers={**told.answers, "uid-new-299": {"sql": failed("x" * 5000), "chat": CHAT}})
    [first, second] = adapters_status(stands(groups, told))
    assert (first["name"], first["loaded"], second["loaded"]) == ("sql", 299, 300)
    rows = first["replicas"]
    assert (len(rows), rows[0]["replica"], rows[0]["state"], rows[1]["state"]) == (16, 299, "Failed", "Loaded")
    assert rows[0]["message"] == "x" * 256
    many = [{"name": f"a{n}", "uri": "hf://o/m"} for n in range(64)]
    status = {"adapters": adapters_status(stands(groups, None, spec(many)))}
    assert len(json.dumps(status)) < 100_000
    LLMDeploymentStatus.model_validate(status)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        {"adapters": None},
        {"adapters": 1},
        {"adapters": ["sql"]},
        {"adapters": [{"name": "sql"}]},
        {"adapters": [{"name": "sql", "uri": "a", "state": "Loaded", "bytes": "many"}]},
        {"adapters": [{"name": "sql", "uri": "a", "state": "Loaded", "total": float("inf")}]},
    ],
    ids=str,
)
def test_what_is_no_answer(document):
    assert read_answers(document) is None


def test_an_answer_is_cut_to_what_a_status_can_hold():
    entry = {"name": "sql", "uri": "u" * 9999, "revision": None, "state": "Dancing", "message": "a\nbc" * 9999}
    entry |= {"bytes": -5, "total": 10**40, "more": {}}
    [(name, answer)] = read_answers({"hash": 7, "adapters": [entry]}).items()
    assert (name, answer.state, answer.revision, answer.bytes, answer.total) == ("sql", "Unknown", "", 0, 2**63)
    assert (len(answer.uri), len(answer.message), "\n" in answer.message) == (1024, 256, False)
    crowd = [{"name": str(n), "uri": "u", "state": "Loaded"} for n in range(9999)]
    assert len(read_answers({"adapters": crowd})) == 256


def at(share):
    return {"uid": {"sql": replace(SQL, state="Fetching", bytes=share, total=100)}}


def test_progress_is_told_now_and_then_and_a_new_state_at_once():
    first = hear(None, at(10), ["uid"], 100.0)
    same = hear(first, at(20), ["uid"], 105.0)
    assert same.answers == first.answers
    later = hear(same, at(30), ["uid"], 100.0 + TELL_SECONDS)
    assert later.answers == at(30)
    done = hear(later, {"uid": {"sql": SQL}}, ["uid"], 101.0 + TELL_SECONDS)
    assert done.answers["uid"]["sql"].state == "Loaded"


def test_one_answer_that_does_not_come_is_no_news_and_silence_is():
    first = hear(None, {"a": BOTH, "b": BOTH}, ["a", "b"], 100.0)
    second = hear(first, {"a": BOTH}, ["a", "b"], 110.0)
    assert second.answers == first.answers
    third = hear(second, {"a": BOTH}, ["a", "b"], 100.0 + TELL_SECONDS)
    assert set(third.answers) == {"a"}
    assert set(hear(first, {"a": BOTH}, ["a"], 110.0).answers) == {"a"}, "a pod that is gone says nothing any more"


def test_room_for_adapters_is_asked_for_or_follows_from_the_first():
    assert lora_of(spec(())) is None
    assert (lora_of(spec()).max_rank, lora_of(spec()).max_loaded) == (16, 4)
    assert lora_of(spec((), lora={"maxRank": 64})).max_rank == 64
