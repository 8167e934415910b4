"""How far pods are that fetch their model: what is read, when it is told again, and in which words."""

from dataclasses import replace

import pytest

from manta_operator.planning.fetching import TELL_SECONDS, Told, fetching, read_fetch, told, with_fetches
from manta_operator.planning.observe import Observed, ObservedPod, observe, slim
from manta_operator.planning.observed import Fetch

GIB = 2**30
ANSWER = {
    "state": "fetching",
    "file": "model-00001-of-00004.safetensors",
    "bytes": 3_435_973_837,
    "total": 17_072_495_000,
    "bytes_per_s": 210_000_000.4,
    "seconds_left": 64.9,
    "waiting_for": "",
    "seconds": 17.0,
}
HALF = Fetch("fetching", 8 * GIB, 16 * GIB, 1e6, None)


def pod(fetch=None, name="demo-new-0-0", **more):
    return ObservedPod(
        name, name[:-2], ready=False, problem=None, uid=f"uid-{name}", fetching=True, fetch=fetch, **more
    )


def test_what_the_fetch_answers_becomes_a_sentence():
    said = fetching([pod(read_fetch(ANSWER))])
    assert said == "3.2 of 15.9 GiB (20 %), 210 MB/s, about 2 min left; pod demo-new-0-0"


@pytest.mark.parametrize(
    "changed",
    [
        {"bytes": "many"},
        {"bytes": None},
        {"total": -1},
        {"bytes_per_s": float("nan")},
        {"seconds_left": float("inf")},
        {"seconds_left": 1e300},
        {"bytes": 10**400},
        {"total": 2**63 + 1},
        {"bytes_per_s": 1e300},
        {"state": ...},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_no_answer(changed):
    document = {name: value for name, value in (ANSWER | changed).items() if value is not ...}
    assert read_fetch(document) is None


def test_another_programs_answer_is_none():
    assert [read_fetch(document) for document in ([], None, "ok", {})] == [None] * 4


@pytest.mark.parametrize(
    ("fetch", "words"),
    [
        (None, "the model is fetched; how far it is, is not known yet"),
        (Fetch("starting"), "the fetch starts"),
        (Fetch("listing"), "the files are listed"),
        (Fetch("finishing", 9, 9), "what was fetched is put in place"),
        (Fetch("something new"), "the model is fetched"),
        (Fetch("waiting", waiting_for="pod-7 (fetching)"), "waits for pod-7 (fetching)"),
        (Fetch("waiting"), "waits for another pod that fetches the model"),
        (Fetch("fetching", 2**20, 2**22, 0.0, None), "1.0 of 4.0 MiB (25 %)"),
        (Fetch("fetching", 2**20, 2**22, 9_440_000, 0.3), "1.0 of 4.0 MiB (25 %), 9.4 MB/s, about 1 s left"),
        (Fetch("fetching", GIB, 800 * GIB, 1e8, 8580.0), "1.0 of 800.0 GiB (0 %), 100 MB/s, about 2 h left"),
        (Fetch("fetching", 9 * GIB, 8 * GIB, 0.0, None), "9.0 of 8.0 GiB (100 %)"),
    ],
)
def test_words(fetch, words):
    assert fetching([pod(fetch)]) == f"{words}; pod demo-new-0-0"


def test_of_several_the_one_with_furthest_to_go_is_told():
    pods = [
        pod(HALF, "demo-new-0-0"),
        pod(replace(HALF, bytes=GIB), "demo-new-1-0", restarts=2),
        pod(Fetch("waiting", waiting_for="x"), "demo-new-2-0"),
        pod(None, "demo-new-3-0"),
    ]
    assert fetching(pods).startswith("1.0 of 16.0 GiB (6 %)")
    assert fetching(pods).endswith("; pod demo-new-1-0 (try 3), and 3 more")
    assert fetching([replace(each, fetching=False) for each in pods]) == ""


@pytest.mark.parametrize(
    ("case", "asked", "later", "news"),
    [
        ("a little more", {"a": replace(HALF, bytes=8 * GIB + 1)}, 29, False),
        ("another rate", {"a": replace(HALF, rate=9e9)}, 1, False),
        ("a tenth more", {"a": replace(HALF, bytes=10 * GIB)}, 1, True),
        ("begun anew", {"a": replace(HALF, bytes=0)}, 1, True),
        ("another state", {"a": replace(HALF, state="finishing")}, 1, True),
        ("waits for the same pod that is further", {"a": HALF}, 1, False),
        ("one more pod", {"a": HALF, "b": HALF}, 1, True),
        ("no answer", {}, 1, True),
        ("half a minute", {"a": HALF}, TELL_SECONDS, True),
    ],
)
def test_when_it_is_told_again(case, asked, later, news):
    before = Told(100.0, {"a": HALF})
    after = told(before, asked, 100.0 + later)
    assert (after is not before) is news, case
    assert told(None, asked, 5.0) == Told(5.0, asked)
    assert not news or after == Told(100.0 + later, asked)


def test_answers_meet_their_pods():
    given = Observed(pods=(pod(name="a-0"), replace(pod(name="b-0"), fetching=False)))
    seen = with_fetches(given, Told(0.0, {"uid-a-0": HALF, "uid-b-0": HALF, "uid-c-0": HALF}))
    assert [each.fetch for each in seen.pods] == [HALF, None]
    assert with_fetches(given, None) is given


@pytest.mark.parametrize(
    ("state", "deleting", "expected"),
    [
        ({"running": {"startedAt": "2026-01-01T00:00:00Z"}}, False, True),
        ({"running": {"startedAt": "2026-01-01T00:00:00Z"}}, True, False),
        ({"terminated": {"exitCode": 0}}, False, False),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, False, False),
    ],
)
def test_a_pod_fetches_while_its_init_container_runs(state, deleting, expected):
    metadata = {"name": "demo-new-0-0", "uid": "u"} | (
        {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {}
    )
    body = {
        "metadata": metadata,
        "spec": {"nodeName": "n"},
        "status": {"initContainerStatuses": [{"name": "fetch", "restartCount": 0, "state": state}]},
    }
    for each in (body, slim("Pod", body)):
        assert observe([], [each], []).pods[0].fetching is expected


@pytest.mark.parametrize(
    ("state", "restarts"),
    [
        ({"running": {"startedAt": "2026-01-01T00:00:00Z"}}, 4),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, 4),
        ({"terminated": {"exitCode": 0}}, 1),
    ],
)
def test_the_tries_of_a_fetch_that_succeeded_are_no_restarts_of_the_engine(state, restarts):
    status = {
        "initContainerStatuses": [{"name": "fetch", "restartCount": 4, "state": state}],
        "containerStatuses": [{"name": "engine", "restartCount": 1, "state": {"running": {"startedAt": None}}}],
    }
    body = {"metadata": {"name": "demo-new-0-0", "uid": "u"}, "spec": {"nodeName": "n"}, "status": status}
    for each in (body, slim("Pod", body)):
        assert observe([], [each], []).pods[0].restarts == restarts
