"""spec.autoscaling where nobody tells of a demand: bounds, the number in the status, a second owner, and no loss."""

from cluster_space import KIND

FOLLOWS = {"minReplicas": 2, "maxReplicas": 6}


def test_the_number_lives_in_the_status_within_the_bounds_of_now(space):
    """It begins with spec.replicas, follows new bounds at once, and leaves the spec alone."""
    made = space.make("demo", replicas=1, autoscaling=FOLLOWS)
    space.serving("demo")
    assert (len(space.groups("demo")), space.status("demo")["desiredReplicas"]) == (2, 2)
    space.change("demo", autoscaling={"minReplicas": 4})
    space.until("there are more", lambda: len(space.groups("demo")) == 4)
    space.change("demo", autoscaling={"minReplicas": 1, "maxReplicas": 3})
    space.until("there are fewer", lambda: len(space.groups("demo")) == 3)
    space.serving("demo")
    told = space.status("demo")["autoscaling"]
    steps = [(each["fromReplicas"], each["toReplicas"]) for each in told["changes"]]
    assert (told["replicas"], steps) == (3, [(4, 3), (2, 4)])
    assert space.get(KIND, "demo")["spec"]["replicas"] == made["spec"]["replicas"]


def test_who_else_writes_the_number_is_named_and_not_followed(space):
    """An HPA beside it writes spec.replicas in vain, and the condition names its field manager."""
    space.make("demo", replicas=2, autoscaling=FOLLOWS)
    space.serving("demo")
    space.scale("demo", 5)
    found = space.until(
        "it is told", lambda: (each := space.judged("demo", "Autoscaled"))["reason"] == "SecondOwner" and each
    )
    entries = space.get(KIND, "demo")["metadata"]["managedFields"]
    [owner] = [each["manager"] for each in entries if each.get("subresource") == "scale"]
    assert owner in found["message"]
    space.stays("the number", lambda: len(space.groups("demo")) == 2, seconds=2)


def test_it_comes_to_a_deployment_that_runs_and_goes_again(space):
    """Autoscaling begins with what runs; without it spec.replicas rules, and nothing is told of it any more."""
    space.make("demo", replicas=3)
    space.serving("demo")
    before = space.groups("demo")
    space.change("demo", autoscaling={"maxReplicas": 6})
    space.until("it follows", lambda: space.status("demo")["autoscaling"]["replicas"] == 3)
    assert space.groups("demo") == before
    space.change("demo", autoscaling={"maxReplicas": 2})
    space.until("there are fewer", lambda: len(space.groups("demo")) == 2)
    space.change("demo", autoscaling=None)
    space.until("the spec rules", lambda: len(space.groups("demo")) == 3)
    space.until("nothing is told of it", lambda: "autoscaling" not in space.status("demo"))
    kinds = [each["type"] for each in space.status("demo")["conditions"]]
    assert "Autoscaled" not in kinds
