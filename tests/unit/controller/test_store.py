"""What the store believes of a child when news come late, twice, out of order, or not at all."""

import asyncio

import pytest

from manta_operator.controller.children import digest
from manta_operator.controller.errors import Forbidden
from manta_operator.controller.kinds import CHILD_KINDS
from manta_operator.controller.store import Store

KEY = ("prod", "demo")


def service(name="demo", version=1, uid="u1", deployment="demo", owner="o", **spec):
    return {
        "metadata": {
            "name": name,
            "namespace": "prod",
            "uid": uid,
            "resourceVersion": str(version),
            "labels": {"manta.dev/deployment": deployment},
            "ownerReferences": [{"kind": "LLMDeployment", "name": deployment, "uid": owner, "controller": True}],
        },
        "spec": spec,
    }


@pytest.fixture
def woken():
    return []


@pytest.fixture
def store(woken):
    return Store(woken.append, (None,))


def test_what_says_nothing_new_wakes_nobody(store, woken):
    store.put("Service", service())
    store.put("Service", service(version=2) | {"status": {"loadBalancer": {}}})
    assert woken == [KEY]
    store.put("Service", service(version=3, port=1))
    assert woken == [KEY, KEY]


def test_an_answer_to_a_write_wakes_nobody_whichever_comes_first(store, woken):
    with store.writing("Service", "prod", "demo"):
        store.put("Service", service(version=5))  # the watch is faster
        store.put("Service", service(version=5), answer=True)
    with store.writing("Service", "prod", "demo"):
        store.put("Service", service(version=6, port=1), answer=True)
    store.put("Service", service(version=6, port=1))
    assert woken == []


def test_the_echo_of_a_write_is_not_read_again(store, woken):
    answered = store.put("Service", service(version=2), answer=True)
    assert store.put("Service", service(version=2)) is answered
    assert store.put("Service", service(version=2, uid="u2")) is not answered  # another one after a restored backup
    assert woken == [KEY]


def test_somebody_who_writes_right_after_us_is_noticed(store, woken):
    with store.writing("Service", "prod", "demo"):
        store.put("Service", service(version=6, port=2))
        store.put("Service", service(version=5), answer=True)
    assert woken == [KEY]
    assert store.find("Service", "prod", "demo").digest == digest(service(port=2))


def test_older_news_do_not_undo_an_answer(store):
    store.put("Service", service(version=5, port=1), answer=True)
    store.put("Service", service(version=4))
    assert store.find("Service", "prod", "demo").version == 5


def test_the_end_of_one_object_is_not_the_end_of_its_successor(store):
    store.put("Service", service(uid="u2", version=9), answer=True)
    store.remove("Service", "prod", "demo", "u1")
    assert store.find("Service", "prod", "demo").uid == "u2"
    store.remove("Service", "prod", "demo", "u2")
    assert store.find("Service", "prod", "demo") is None
    assert not store.of(KEY)


def test_what_a_list_does_not_show_is_gone_unless_it_is_younger(store, woken):
    store.put("Service", service("old", version=3))
    store.put("Service", service("kept", version=4, uid="u2"))
    store.put("Service", service("new", version=11, uid="u3"), answer=True)
    store.put("ConfigMap", service("other", version=1, uid="u4"))
    woken.clear()
    store.listed(("Service", None), {"u2"}, 10)
    assert {name for _, name in store.of(KEY)} == {"kept", "new", "other"}
    assert woken == [KEY]


def test_what_we_deleted_goes_although_no_watch_has_said_so(store):
    found = store.put("Service", service())
    store.expect_gone("u1")
    assert store.going(found)
    store.put("Service", service(version=2))  # from before the deletion
    assert store.going(store.find("Service", "prod", "demo"))
    store.remove("Service", "prod", "demo", "u1")
    assert not store.going(store.put("Service", service(uid="u2", version=3)))


def test_a_changed_label_moves_a_child(store, woken):
    store.put("Service", service())
    store.put("Service", service(version=2, deployment="other"))
    assert not store.of(KEY)
    assert ("Service", "demo") in store.of(("prod", "other"))


async def ready(store, namespace="prod"):
    try:
        await asyncio.wait_for(store.ready(namespace), 0.01)
    except TimeoutError:
        return False
    return True


async def test_a_namespace_whose_rights_are_gone_holds_up_no_other(woken):
    store = Store(woken.append, ("prod", "gone"))
    for kind in CHILD_KINDS:
        store.listed((kind.kind, "prod"), set(), 1)
        store.unseen((kind.kind, "gone"), Forbidden("list: forbidden"))
    assert await ready(store, "prod")
    assert not await ready(store, "gone")
    waiting = asyncio.create_task(store.ready("gone"))
    await asyncio.sleep(0)
    for kind in CHILD_KINDS:
        store.listed((kind.kind, "gone"), set(), 1)
    await asyncio.wait_for(waiting, 1)


async def test_it_is_ready_when_every_kind_was_listed_or_is_not_served(store):
    for kind in CHILD_KINDS:
        assert not await ready(store)
        if kind.optional:
            store.unseen((kind.kind, None), None)
        else:
            store.listed((kind.kind, None), set(), 1)
    assert await ready(store)


@pytest.mark.parametrize(("kind", "opens"), [("Role", True), ("Pod", False)])
async def test_a_kind_it_may_not_see_holds_passes_up_only_where_decisions_need_it(store, kind, opens):
    for each in CHILD_KINDS:
        if each.kind != kind:
            store.listed((each.kind, None), set(), 1)
    store.unseen((kind, None), Forbidden("list: no"))
    assert await ready(store) is opens
    assert [each.message for each in store.troubles({kind}, "prod")] == ["list: no"]
    assert store.troubles({"Service"}, "prod") == []
    store.listed((kind, None), set(), 1)
    assert await ready(store)
    assert store.watched((kind, None))
    assert store.troubles({kind}, "prod") == []
    assert not store.watched((kind, None))


def test_the_digest_is_of_what_an_apply_could_change():
    base = service()
    same = [
        base | {"status": {"a": 1}},
        {**base, "metadata": base["metadata"] | {"resourceVersion": "9", "managedFields": [1], "generation": 4}},
        {**base, "metadata": base["metadata"] | {"annotations": {"deployment.kubernetes.io/revision": "2"}}},
        {**base, "metadata": base["metadata"] | {"annotations": {"manta.dev/restart": "{}"}}},
    ]
    others = [
        service(port=1),
        service(deployment="x"),
        service(owner="x"),
        {**base, "metadata": base["metadata"] | {"annotations": {"manta.dev/config-hash": "1"}}},
        base | {"data": {"a": "b"}},
    ]
    assert {digest(each) for each in same} == {digest(base)}
    assert len({digest(each) for each in [base, *others]}) == len(others) + 1
