"""A watch that lives through everything an API server does."""

import asyncio
import logging

import pytest

from manta_operator.controller import watcher as watchers
from manta_operator.controller.errors import Expired, Forbidden, Missing, Transient, classify
from manta_operator.controller.kinds import CHILD_KINDS, ChildKind
from manta_operator.controller.store import Store
from manta_operator.controller.watcher import Outage, Watcher


def service(name, version, **spec):
    labels = {"manta.dev/deployment": "demo"}
    metadata = {"name": name, "namespace": "prod", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata | {"labels": labels}, "spec": spec}


def event(kind, body):
    return {"type": kind, "object": body}


class Server:
    """Answers lists and watches from a script; at its end a watch hangs."""

    def __init__(self, *script):
        self.script, self.calls, self.idle = list(script), [], asyncio.Event()

    async def pages(self, api_version, kind, namespace, selector):
        self.calls.append("list")
        yield self._next()

    async def watch(self, api_version, kind, namespace, selector, version, opened):
        self.calls.append(f"watch {version}")
        if not self.script:
            opened()
            self.idle.set()
            await asyncio.Event().wait()
        for each in self._next():
            if isinstance(each, Exception):
                raise each
            opened()
            yield each

    def _next(self):
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr(watchers, "FIRST_RETRY_SECONDS", 0.005)
    monkeypatch.setattr(watchers, "LONGEST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(watchers, "ABSENT_SECONDS", 0.02)
    return Store(lambda _: None, (None,))


SERVICE = ChildKind("v1", "Service")


async def watch(store, server, kind=SERVICE, turned=lambda: None):
    task = asyncio.create_task(Watcher(server, store, kind, None, Outage(), turned).run())
    await asyncio.wait_for(server.idle.wait(), 5)
    assert not task.done()
    task.cancel()
    return {name for _, name in store.of(("prod", "demo"))}


async def test_events_come_in_and_the_watch_goes_on_where_it_ended(store):
    events = [event("ADDED", service("b", 5)), event("DELETED", service("a", 6)), event("BOOKMARK", service("", 9))]
    server = Server(([service("a", 1)], "4"), events)
    assert await watch(store, server) == {"b"}
    assert server.calls == ["list", "watch 4", "watch 9"]


async def test_what_vanished_behind_an_expired_watch_is_gone(store):
    server = Server(([service("a", 1), service("b", 2)], "4"), [Expired("too old")], ([service("b", 2)], "7"))
    assert await watch(store, server) == {"b"}
    assert server.calls == ["list", "watch 4", "list", "watch 7"]


async def test_an_outage_costs_no_list_and_is_told_once(store, caplog):
    caplog.set_level(logging.INFO)
    away = [[Transient("away")]] * 4
    server = Server(([service("a", 1)], "4"), *away, [event("ADDED", service("b", 5))])
    assert await watch(store, server) == {"a", "b"}
    assert server.calls.count("list") == 1
    assert caplog.text.count("away") == 1
    assert "everything is watched again" in caplog.text


async def test_a_lost_permission_is_told_and_comes_back_and_both_wake_everybody_once(store):
    told = []
    no = Forbidden("list services: no")
    server = Server(([service("a", 1)], "4"), [no], no, no, ([service("b", 9)], "9"))
    turned = lambda: told.append([each.message for each in store.troubles({"Service"}, "prod")])  # noqa: E731
    assert await watch(store, server, turned=turned) == {"b"}
    assert told == [["list services: no"], []]


async def test_what_may_be_listed_but_not_watched_stays_in_trouble(store):
    told, no = [], Forbidden("watch services: no")
    lists = ([service("a", 1)], "4")
    server = Server(lists, [no], lists, [no], lists, [no], lists)
    await watch(store, server, turned=lambda: told.append(len(server.script)))
    assert told == [5, 0], "not at the lists between"


async def test_a_kind_that_is_not_served_is_fine_and_wakes_all_when_it_comes(store):
    came = []
    server = Server(Missing("no PodMonitor"), Missing("no PodMonitor"), ([], "4"))
    kind = ChildKind("monitoring.coreos.com/v1", "PodMonitor", optional=True)
    await watch(store, server, kind, lambda: came.append(True))
    assert came == [True]
    assert server.calls == ["list", "list", "list", "watch 4"]


async def test_a_bug_does_not_end_it(store, caplog):
    server = Server(([service("a", 1)], "4"), [{"type": "ADDED", "object": {}}], ([service("b", 5)], "6"))
    assert await watch(store, server) == {"b"}
    assert "which is a bug" in caplog.text


def all_but(store, kind):
    for each in CHILD_KINDS:
        if each.kind != kind:
            store.listed((each.kind, None), set(), 1)


async def test_a_list_that_fails_keeps_nobody_waiting_for_ever(store, monkeypatch):
    monkeypatch.setattr(watchers, "UNLISTED_SECONDS", 0.03)
    all_but(store, "Service")
    told, refused = [], classify(500, "etcd: corrupt object", "list services")
    turned = lambda: told.append([each.reason for each in store.troubles({"Service"}, "prod")])  # noqa: E731
    server = Server(*[refused] * 12, ([service("a", 1)], "4"))
    task = asyncio.create_task(watch(store, server, turned=turned))
    await asyncio.sleep(0.005)
    assert not store.sees("prod"), "it may only be starting"
    await store.ready("prod")
    assert store.troubles({"Service"}, "prod")
    assert await task == {"a"}
    assert told == [["Transient"], []]


async def test_what_decisions_are_made_from_is_waited_for_and_it_is_told_why(store, monkeypatch):
    monkeypatch.setattr(watchers, "UNLISTED_SECONDS", 0.01)
    all_but(store, "Pod")
    ready = []
    turned = lambda: ready.append(store.sees("prod"))  # noqa: E731
    server = Server(*[classify(500, "no", "list pods")] * 8, ([], "4"))
    await watch(store, server, ChildKind("v1", "Pod"), turned)
    assert ready == [False, True]


async def test_a_bug_in_one_kind_keeps_nobody_waiting_either(store, caplog):
    all_but(store, "Service")
    messages = []
    turned = lambda: messages.extend(each.message for each in store.troubles({"Service"}, "prod"))  # noqa: E731
    task = asyncio.create_task(watch(store, Server(*[KeyError("uid")] * 9, ([], "4")), turned=turned))
    await asyncio.wait_for(store.ready("prod"), 1)
    assert not task.done()
    assert messages == ["watching Service failed, which is a bug: KeyError('uid')"]
    await task
    assert caplog.text.count("KeyError") >= 9


async def test_an_invalid_token_is_told_once_for_all(store, caplog):
    caplog.set_level(logging.INFO)
    outage, refused = Outage(), classify(401, "Unauthorized", "list services in all namespaces")
    servers = [Server(*[refused] * 3, ([], "4")) for _ in range(5)]
    tasks = [asyncio.create_task(Watcher(each, store, SERVICE, None, outage).run()) for each in servers]
    await asyncio.sleep(0.15)
    for task in tasks:
        task.cancel()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "list services in all namespaces: Unauthorized" in caplog.text


async def test_a_restored_api_server_is_believed(store, caplog):
    server = Server(
        ([service("a", 900), service("b", 800)], "950"), [Expired("watch: too old")], ([service("a", 90)], "95")
    )
    assert await watch(store, server) == {"a"}
    assert store.find("Service", "prod", "a").version == 90
    assert "as after a restore" in caplog.text


async def test_where_not_even_bookmarks_come_it_lists_again(store, monkeypatch):
    monkeypatch.setattr(watchers, "SILENCE_SECONDS", 0.0)
    server = Server(([service("a", 900)], "950"), [Transient("watch: silence")], ([service("a", 90)], "95"))
    await watch(store, server)
    assert server.calls[:3] == ["list", "watch 950", "list"]
