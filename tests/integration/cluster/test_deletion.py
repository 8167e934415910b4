"""Deleting: who ends before whom, what is left (nothing), what orphaning leaves, and how orphans are adopted."""

import time

from cluster_operator import ACCOUNT
from cluster_rights import grant_everywhere
from cluster_space import CHILD_KINDS, KIND


def test_nothing_is_left(space):
    """`kubectl delete llmd/demo` leaves no child, no pod and no finalizer; the name is free again."""
    space.make("demo", replicas=2)
    space.serving("demo")
    space.cluster.delete(KIND, space.name, "demo")
    space.until("it is gone", lambda: space.get(KIND, "demo") is None)
    space.until("no child is left", lambda: not space.children("demo", *CHILD_KINDS, "Pod", "ReplicaSet"))
    space.make("demo")
    space.serving("demo")


def test_routers_end_before_engines(space):
    """The routers finish what is in flight while every engine still serves; only then the engines drain."""
    space.make("demo", replicas=2)
    space.serving("demo")
    [router] = space.pods("demo", "router")
    hold = {"metadata": {"finalizers": ["example.com/drains"]}}  # a router that takes its time
    space.cluster.patch("Pod", space.name, router["metadata"]["name"], hold)
    space.cluster.delete(KIND, space.name, "demo")
    space.until("the router ends", lambda: not space.pods("demo", "router"))
    space.stays("both engines", lambda: len(space.pods("demo")) == 2 == len(space.groups("demo")), seconds=3)
    free = {"metadata": {"finalizers": None}}
    space.cluster.patch("Pod", space.name, router["metadata"]["name"], free)
    space.until("it is gone", lambda: space.get(KIND, "demo") is None)
    space.until("no pod is left", lambda: not space.children("demo", "Pod"))


def test_deletion_does_not_wait_for_ever(space):
    """A router pod that never ends holds the deletion up for drainSeconds and a margin, no longer."""
    space.make("demo", rollout={"drainSeconds": 1}, router={"hold": {"seconds": 0}})
    space.serving("demo")
    [router] = space.pods("demo", "router")
    name = router["metadata"]["name"]
    space.cluster.patch("Pod", space.name, name, {"metadata": {"finalizers": ["example.com/never"]}})
    try:
        began = time.monotonic()
        space.cluster.delete(KIND, space.name, "demo")
        space.until("it is gone", lambda: space.get(KIND, "demo") is None, seconds=120)
        assert time.monotonic() - began < 100
    finally:
        space.cluster.patch("Pod", space.name, name, {"metadata": {"finalizers": None}})


def test_orphans_go_on_serving_and_are_adopted(space):
    """`kubectl delete --cascade=orphan` touches no child; the object made again adopts the very same ones."""
    body = space.body("demo", replicas=2)
    space.cluster.create(body)
    space.serving("demo")
    before = {(each["kind"], each["metadata"]["name"]): each["metadata"]["uid"] for each in space.children("demo")}
    pods = {pod["metadata"]["uid"] for pod in (*space.pods("demo"), *space.pods("demo", "router"))}
    space.cluster.delete(KIND, space.name, "demo", propagation="Orphan")
    space.until("it is gone", lambda: space.get(KIND, "demo") is None)
    space.until(
        "nobody owns the children",
        lambda: not [each for each in space.children("demo") if each["metadata"].get("ownerReferences")],
    )
    now = {(each["kind"], each["metadata"]["name"]): each["metadata"]["uid"] for each in space.children("demo")}
    assert now == before
    made = space.cluster.create(body)
    space.serving("demo")
    children = space.children("demo")
    assert {(each["kind"], each["metadata"]["name"]): each["metadata"]["uid"] for each in children} == before
    for each in children:
        [owner] = each["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (made["metadata"]["uid"], True)
    assert {pod["metadata"]["uid"] for pod in (*space.pods("demo"), *space.pods("demo", "router"))} == pods


def test_a_namespace_that_takes_the_operators_rights_along_is_released(space):
    """Served alone, a namespace takes the operator's RoleBinding along, and goes: its finalizer needs no Role there"""
    space.make("demo", replicas=2)
    space.serving("demo")
    space.cluster.delete("Namespace", None, space.name)
    space.until("it is gone", lambda: space.cluster.find("Namespace", None, space.name) is None, seconds=90)


def test_a_namespace_goes_with_all_that_is_in_it(space, server):
    """All namespaces served, `kubectl delete namespace` is not held up: finalizers are released by themselves."""
    grant_everywhere(server, space.operator.home, ACCOUNT)
    space.make("demo", replicas=2)
    space.serving("demo")
    space.cluster.delete("Namespace", None, space.name)
    space.until("it is gone", lambda: space.cluster.find("Namespace", None, space.name) is None, seconds=90)
