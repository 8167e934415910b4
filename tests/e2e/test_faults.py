"""What dies takes its group with it at once, says why, and comes back: one kind here, each of them in `make e2e`."""

import asyncio
from contextlib import suppress

import psutil
import pytest
from faults.catalogue import FAULTS
from faults.processes import alive, find, of_pod
from faults.report import row
from faults.run import run
from faults.watching import container_of
from running import only_all, wait_ready

SHARDED = "manta.dev/deployment=tiny-sharded,app.kubernetes.io/component=engine"
ENDED_SECONDS = 60
RECOVER_SECONDS = 420.0
REQUESTS_PER_SECOND = 2.0
FROZEN_SECONDS = 360
"""A frozen process is noticed by what it does not do, and killed by a kubelet that has lost patience."""


async def engine_pods(client):
    return sorted(await client.list("v1", "Pod", selector=SHARDED), key=lambda pod: pod["metadata"]["name"])


def last_words(pod, container: str) -> str:
    """The termination message of a container that ran before, "" while it has not ended."""
    for status in pod["status"]["containerStatuses"]:
        for state in (status.get("state") or {}, status.get("lastState") or {}):
            ended = state.get("terminated") or {}
            if ended.get("containerID") == container:
                assert ended["exitCode"] != 0
                return ended.get("message") or "(nothing)"
    return ""


async def test_a_killed_rank_ends_its_group_and_every_pod_says_why(box, client):
    """The last test on the common box: nobody waits until the group is back."""
    await wait_ready(box, client, "tiny-sharded", 1)
    pods = await engine_pods(client)
    containers = {pod["metadata"]["name"]: container_of(pod) for pod in pods}
    root = psutil.Process(box.state.pid)
    before = [process for pod in pods for process in of_pod(root, pod["status"]["podIP"])]
    find(of_pod(root, pods[-1]["status"]["podIP"]), "rank").kill()
    words = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(ENDED_SECONDS):
            while not words or not all(words.values()):
                await asyncio.sleep(0.2)
                found = await engine_pods(client)
                words = {pod["metadata"]["name"]: last_words(pod, containers[pod["metadata"]["name"]]) for pod in found}
    assert all(words.values()), f"not ended within {ENDED_SECONDS} s: {words}"
    assert "(nothing)" not in words.values(), words
    assert not alive(before), "nothing of the old group is left"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Every fault once, on a box of its own: the row of each by its name, and what else went wrong."""
    results = {}

    def hear(result):
        results[result.fault.name] = row(result)

    folder = tmp_path_factory.mktemp("faults")
    problems = asyncio.run(run(folder, FAULTS, REQUESTS_PER_SECOND, RECOVER_SECONDS, hear))
    return results, problems


@only_all
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_everything_comes_back_and_nothing_is_left_behind(rows, fault):
    made = rows[0][fault.name]
    assert not made["problems"], made
    if fault.where != "outside":
        assert made["ended_s"] < (FROZEN_SECONDS if fault.freeze else ENDED_SECONDS), made
        assert made["visible_in"], made
        assert "pod" in made["visible_in"] or not fault.told_by_a_pod, made


@only_all
@pytest.mark.timeout(3600)
def test_nothing_is_lost_between_faults_and_the_box_leaves_nothing(rows):
    assert not rows[1]
