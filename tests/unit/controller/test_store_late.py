"""What the store makes of news that come after the end, from before a restore, or under another name."""

import pytest

from manta_operator.controller import recent
from manta_operator.controller.recent import Recent
from manta_operator.controller.store import NEWER_THAN_ALL, Store

KEY = ("prod", "demo")


def service(name="demo", version=1, uid="u1", deployment="demo", **spec):
    metadata = {"name": name, "namespace": "prod", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata | {"labels": {"manta.dev/deployment": deployment}}, "spec": spec}


@pytest.fixture
def woken():
    return []


@pytest.fixture
def store(woken):
    return Store(woken.append, (None,))


def test_an_answer_that_comes_after_the_end_does_not_bring_it_back(store, woken):
    with store.writing("Service", "prod", "demo"):
        store.put("Service", service(version=5))
        store.remove("Service", "prod", "demo", "u1")
        woken.clear()
        store.put("Service", service(version=5), answer=True)
    assert store.find("Service", "prod", "demo") is None
    assert not store.of(KEY)
    assert woken == [KEY]
    store.put("Service", service(version=7, uid="u2"), answer=True)
    assert store.find("Service", "prod", "demo").uid == "u2"


def test_an_end_that_is_told_before_our_deletion_is_answered_leaves_nothing_behind(store):
    found = store.put("Service", service())
    store.remove("Service", "prod", "demo", "u1")
    store.expect_gone("u1")
    assert not store.going(found)


def test_who_loses_a_child_is_woken_as_well_as_who_gets_it(store, woken):
    store.put("Service", service())
    woken.clear()
    store.put("Service", service(version=2, deployment="other"))
    assert set(woken) == {KEY, ("prod", "other")}


def test_a_restored_api_server_is_believed(store, woken):
    store.put("Service", service("kept", version=900, uid="u1", port=1))
    store.put("Service", service("same", version=50, uid="u2", port=1))
    store.put("Service", service("later", version=800, uid="u3"))
    store.put("Service", service("back", version=700, uid="u4"))
    store.remove("Service", "prod", "back", "u4")
    assert store.newest(("Service", None)) == 900
    assert store.newest(("Service", "other")) == 0
    woken.clear()
    store.put("Service", service("kept", version=40, uid="u1"), rewound=True)
    store.put("Service", service("same", version=50, uid="u2", port=2), rewound=True)
    store.put("Service", service("back", version=45, uid="u4"), rewound=True)
    store.listed(("Service", None), {"u1", "u2", "u4"}, NEWER_THAN_ALL)
    assert {name: store.find("Service", "prod", name).version for _, name in store.of(KEY)} == {
        "kept": 40,
        "same": 50,
        "back": 45,
    }
    assert len(woken) == 4


def test_when_a_place_was_freed(store):
    pod = service("pod", uid="p1")
    pod["status"] = {}
    assert store.moved(KEY) == 0
    store.put("Pod", pod)
    store.put("Service", service())
    store.remove("Service", "prod", "demo", "u1")
    assert store.moved(KEY) == 0
    store.remove("Pod", "prod", "pod", "p1")
    assert store.moved(KEY) > 0
    assert store.moved(("prod", "other")) == 0


def test_what_happened_lately_takes_no_memory_for_ever(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(recent.time, "monotonic", lambda: now)
    seen = Recent(60)
    for number in range(100):
        seen.note(number)
        now += 1
    assert len(seen) == 61
    assert (seen.when(99), seen.when(0)) == (1099.0, 0.0)
    now += 100
    seen.note("again")
    assert len(seen) == 1
