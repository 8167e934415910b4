"""Which pods may be picked."""

import pytest

from manta_runtime.router.membership import Endpoint, Members, endpoint_of


def pod(name="p", ip="10.0.0.1", ready="True", **metadata):
    status = {"conditions": [{"type": "Ready", "status": ready}], **({"podIP": ip} if ip else {})}
    return {"metadata": {"name": name, "labels": {"manta.dev/replica": "3"}, **metadata}, "status": status}


@pytest.mark.parametrize(
    ("body", "endpoint"),
    [
        pytest.param(pod(), Endpoint("p", "10.0.0.1:8000", "3", usable=True), id="ready"),
        pytest.param(pod(ready="False"), Endpoint("p", "10.0.0.1:8000", "3", usable=False), id="unready"),
        pytest.param(
            pod(deletionTimestamp="2026-01-01T00:00:00Z"),
            Endpoint("p", "10.0.0.1:8000", "3", usable=False),
            id="being deleted",
        ),
        pytest.param(pod(ip="fd00::1"), Endpoint("p", "[fd00::1]:8000", "3", usable=True), id="IPv6"),
        pytest.param(pod(ip=None), None, id="no address yet"),
        pytest.param({"metadata": {"name": "p"}}, None, id="no status at all"),
    ],
)
def test_endpoint_of(body, endpoint):
    assert endpoint_of(body, 8000) == endpoint


def test_events_and_lists_change_who_is_usable():
    members = Members(8000)
    members.replace([pod("b"), pod("a"), pod("c", ip=None)])
    assert ([e.name for e in members.usable], members.known) == (["a", "b"], 3)
    members.apply("MODIFIED", pod("a", ready="False"))
    members.apply("ADDED", pod("d"))
    members.apply("DELETED", pod("b"))
    members.apply("DELETED", pod("unknown"))
    assert ([e.name for e in members.usable], members.known) == (["d"], 3)
    members.replace([])
    assert (members.usable, members.known) == ((), 0)


def test_what_cannot_be_sent_to_yet_is_ready_but_not_usable():
    members = Members(8000)
    members.replace([pod("a", ip="10.0.0.1"), pod("b", ip="10.0.0.2"), pod("c", ip="10.0.0.3", ready="False")])
    members.reach(frozenset({"10.0.0.1:8000", "10.0.0.3:8000"}))
    assert ([e.name for e in members.ready], [e.name for e in members.usable]) == (["a", "b"], ["a"])
    assert not members.eject("b"), "nobody was sent there"
    members.apply("MODIFIED", pod("a", ip="10.0.0.4"))
    assert ([e.name for e in members.ready], [e.name for e in members.usable]) == (["a", "b"], [])


def test_a_replica_that_failed_is_out_until_it_is_restored_or_another():
    members = Members(8000)
    members.replace([pod("a"), pod("b", ready="False")])
    assert (members.eject("a"), members.eject("a"), members.eject("b"), members.eject("x")) == (
        True,
        False,
        False,
        False,
    )
    assert members.ejected == {"a"}
    members.apply("MODIFIED", pod("a"))
    assert members.ejected == {"a"}
    assert (members.restore("a"), members.restore("a")) == (True, False)
    for change in (pod("a", ready="False"), pod("a", ip="10.0.0.2")):
        members.apply("MODIFIED", pod("a"))
        members.eject("a")
        members.apply("MODIFIED", change)
        assert members.ejected == frozenset()
