"""Workloads on a whole box: what Deployments, StatefulSets and their kin do to real pods."""

import asyncio

import pytest

pytestmark = pytest.mark.integration
ENDED = ("Succeeded", "Failed")


def replicas(world, kind, name, key="readyReplicas"):
    return ((world.get(kind, name) or {}).get("status") or {}).get(key, 0)


def change(world, kind, name, **spec):
    world.cluster.patch(kind, "default", name, {"spec": spec})


async def test_a_rolling_update_is_never_below_what_was_asked_for(world, template, container):
    world.deployment(3, strategy={"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
    await world.until(lambda: len(world.ready()) == 3)
    old, fewest, most = set(world.pods()), 3, 0

    def staying():
        leaving = {name for name, pod in world.pods().items() if pod["metadata"].get("deletionTimestamp")}
        return set(world.ready()) - leaving

    change(world, "Deployment", "web", template=template(container("sleep", "601")))
    status = asyncio.create_task(world.kubectl("rollout", "status", "deployment/web", "--timeout=60s"))

    def rolled():
        nonlocal fewest, most
        fewest, most = min(fewest, len(staying())), max(most, len(world.pods()))
        return len(world.pods()) == 3 and not old & set(world.pods()) and len(world.ready()) == 3

    await world.until(rolled)
    assert fewest == 3
    assert most >= 4
    assert 'deployment "web" successfully rolled out' in await status
    assert replicas(world, "Deployment", "web", "updatedReplicas") == 3


async def test_recreate_ends_the_old_pods_first(world, template, container):
    slow = container("sh", "-c", "trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.05; done")
    world.deployment(2, template(slow), strategy={"type": "Recreate"})
    await world.until(lambda: len(world.ready()) == 2)
    old = set(world.pods())
    change(world, "Deployment", "web", template=template())

    def mixed():
        names = {n for n, pod in world.pods().items() if (pod.get("status") or {}).get("phase") not in ENDED}
        assert not (names & old and names - old), "old and new pods at once"
        return len(names - old) == len(world.ready()) == 2

    await world.until(mixed)


async def _story(world, count):
    """Which pods were made and became ready, in the order the store saw it, until so many are ready."""
    story, ready = [], set()
    async for event in world.cluster.watch("Pod"):
        name = event.object["metadata"]["name"]
        if event.type == "ADDED":
            story.append(f"+{name}")
        elif world.is_ready(event.object) and name not in ready:
            ready.add(name)
            story.append(f"{name} ready")
        if len(ready) == count:
            break
    return story


async def _leaving(world, count):
    """Which pods began to leave and which were gone, in the order the store saw it, until so many are gone."""
    story, leaving = [], set()
    async for event in world.cluster.watch("Pod"):
        metadata = event.object["metadata"]
        if event.type == "DELETED":
            story.append(f"{metadata['name']} gone")
        elif metadata.get("deletionTimestamp") and metadata["name"] not in leaving:
            leaving.add(metadata["name"])
            story.append(f"{metadata['name']} leaves")
        if sum(line.endswith("gone") for line in story) == count:
            break
    return story


async def test_an_ordered_set_grows_and_shrinks_one_by_one(world):
    told = asyncio.create_task(_story(world, 3))
    await asyncio.sleep(0)
    world.stateful_set(3)
    assert await asyncio.wait_for(told, 60) == [
        "+set-0",
        "set-0 ready",
        "+set-1",
        "set-1 ready",
        "+set-2",
        "set-2 ready",
    ]
    told = asyncio.create_task(_leaving(world, 2))
    await asyncio.sleep(0)
    change(world, "StatefulSet", "set", replicas=1)
    assert await asyncio.wait_for(told, 60) == ["set-2 leaves", "set-2 gone", "set-1 leaves", "set-1 gone"]
    assert sorted(world.pods()) == ["set-0"]


async def test_a_parallel_set_starts_at_once_and_remakes_a_deleted_pod_under_its_name(world, template, container):
    late = container(readinessProbe={"exec": {"command": ["false"]}})
    world.stateful_set(3, template(late), podManagementPolicy="Parallel")
    await world.until(lambda: sorted(world.pods()) == ["set-0", "set-1", "set-2"])
    assert world.ready() == []
    before = world.get("Pod", "set-1")["metadata"]["uid"]
    world.cluster.delete("Pod", "default", "set-1")
    await world.until(lambda: (world.get("Pod", "set-1") or {"metadata": {"uid": before}})["metadata"]["uid"] != before)
    labels = world.get("Pod", "set-1")["metadata"]["labels"]
    assert labels["apps.kubernetes.io/pod-index"] == "1"
    assert labels["statefulset.kubernetes.io/pod-name"] == "set-1"


async def _last_endpoint(world, pod):
    """(ready, serving, terminating) of a pod just before the Service forgets it."""
    last = None
    async for event in world.cluster.watch("EndpointSlice"):
        if pod in (now := world.conditions_in(event.object)):
            last = now[pod]
        elif last is not None:
            return last
    return None


async def test_endpoints_follow_readiness_and_show_who_leaves(world, container, template):
    # The hook, not a trap: a shell that is told to end before it has set its trap ends at once.
    hook = {"preStop": {"exec": {"command": ["sleep", "1"]}}}
    world.service()
    world.stateful_set(2, template(container(lifecycle=hook)), podManagementPolicy="Parallel")
    both = {"set-0": (True, True, False), "set-1": (True, True, False)}
    await world.until(lambda: world.endpoints() == both)
    told = asyncio.create_task(_last_endpoint(world, "set-1"))
    await asyncio.sleep(0)
    change(world, "StatefulSet", "set", replicas=1)
    ready, _, terminating = await asyncio.wait_for(told, 60)
    assert (ready, terminating) == (False, True)
    await world.until(lambda: world.endpoints() == {"set-0": (True, True, False)})


@pytest.mark.parametrize(("cascade", "stays"), [("background", False), ("foreground", False), ("orphan", True)])
async def test_deleting_an_owner_with_kubectl(world, cascade, stays):
    world.deployment(1)
    await world.until(lambda: len(world.ready()) == 1)
    before = list(world.pods())
    await world.kubectl("delete", "deployment", "web", f"--cascade={cascade}", "--timeout=60s")
    assert world.get("Deployment", "web") is None

    def left():
        return [world.cluster.list("ReplicaSet", "default"), list(world.pods())]

    if stays:
        await asyncio.sleep(0.3)  # for a collector that would take too much
        [kept], names = left()
        assert not kept["metadata"].get("ownerReferences")
        assert names == before
    elif cascade == "foreground":
        assert left() == [[], []]
    else:
        await world.until(lambda: left() == [[], []])


async def test_a_deleted_namespace_takes_all_of_it_along(world, template):
    world.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    pod = template()
    world.make("v1", "Pod", "pod", "team", metadata=pod["metadata"], spec=pod["spec"])
    world.make("v1", "ConfigMap", "settings", "team", data={"a": "1"})
    await world.until(lambda: world.cluster.get("Pod", "team", "pod").get("status", {}).get("phase") == "Running")
    world.cluster.delete("Namespace", None, "team")
    await world.until(lambda: world.cluster.find("Namespace", None, "team") is None)
    assert not world.cluster.list("Pod", "team")
    assert not world.cluster.list("ConfigMap", "team")


async def test_a_disruption_budget_counts_the_healthy(world):
    selector = {"matchLabels": {"app": "web"}}
    world.make("policy/v1", "PodDisruptionBudget", "web", spec={"minAvailable": 1, "selector": selector})
    world.deployment(2)

    def told():
        status = world.get("PodDisruptionBudget", "web").get("status") or {}
        return tuple(status.get(key) for key in ("currentHealthy", "desiredHealthy", "disruptionsAllowed"))

    await world.until(lambda: told() == (2, 1, 1))
    change(world, "Deployment", "web", replicas=1)
    await world.until(lambda: told() == (1, 1, 0))


async def test_a_pod_that_fits_nowhere_waits_with_the_schedulers_words(world, container):
    world.pod(container(resources={"requests": {"cpu": "1000", "nvidia.com/gpu": "8"}}))
    message = "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient nvidia.com/gpu."

    def scheduled():
        status = world.get("Pod", "pod").get("status") or {}
        return next((c for c in status.get("conditions") or [] if c["type"] == "PodScheduled"), None)

    condition = await world.until(scheduled)
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"].startswith(message)
    events = lambda: [e for e in world.cluster.list("Event", "default") if e["reason"] == "FailedScheduling"]  # noqa: E731
    [event] = await world.until(events)
    assert event["message"] == condition["message"]
