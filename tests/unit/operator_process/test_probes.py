"""Probes, metrics and logs of the operator's process."""

import asyncio
import json
import logging

import aiohttp
import pytest

from manta_operator.controller import metrics
from manta_operator.controller.probes import ECHO_SECONDS, PASS_SECONDS, Progress
from manta_operator.controller.probes_server import serving
from manta_operator.controller.run_logging import JsonFormatter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Progress:
    return Progress(clock)


def test_a_fresh_process_is_healthy_and_not_ready(progress: Progress) -> None:
    assert progress.problems() == ()
    assert progress.unready() == ("the API server has not answered yet",)


def test_who_is_not_let_see_is_not_ready(progress: Progress) -> None:
    progress.waits = str
    progress.blind(("Pod", "team"), "list Pod team: forbidden")
    progress.blind("/apis/manta.dev/v1alpha1/llmdeployments", "GET …: forbidden")
    progress.blind(("Pod", "team"), "list Pod team: forbidden")
    assert progress.unready() == ("list Pod team: forbidden", "GET …: forbidden")
    assert value("manta_watches_forbidden") == 2
    progress.sees(("Pod", "team"))
    progress.sees(("Service", "team"))
    assert value("manta_watches_forbidden") == 1
    progress.sees("/apis/manta.dev/v1alpha1/llmdeployments")
    assert progress.unready() == ()
    assert value("manta_watches_forbidden") == 0


def test_a_pass_that_hangs(progress: Progress, clock: Clock) -> None:
    with progress.passing(("team", "llama")):
        clock.now = PASS_SECONDS + 1
        assert progress.problems() == ("the pass over team/llama has had no answer for 601 s",)
    assert progress.problems() == ()


async def test_a_pass_that_is_long_and_gets_answers_does_not_hang(progress: Progress, clock: Clock) -> None:
    """Also by requests of tasks that it has started; those of another pass say nothing about it."""

    async def other() -> None:
        with progress.passing("other"):
            progress.answered()

    with progress.passing("long"):
        for clock.now in range(0, 3000, 500):
            await asyncio.gather(asyncio.to_thread(progress.answered))
            assert progress.problems() == ()
        clock.now += PASS_SECONDS + 1
        await asyncio.create_task(other())
        assert len(progress.problems()) == 1


def test_a_watch_that_is_not_heard(progress: Progress, clock: Clock) -> None:
    progress.wrote("StatefulSet")
    clock.now = ECHO_SECONDS + 1
    progress.wrote("StatefulSet")
    assert progress.problems() == ("no event of any StatefulSet has come for 301 s, although one was written",)
    progress.heard("StatefulSet")
    assert progress.problems() == ()


def test_an_event_may_come_before_the_answer(progress: Progress, clock: Clock) -> None:
    progress.heard("LLMDeployment")
    clock.now = 5
    progress.wrote("LLMDeployment")
    clock.now = 1e6
    assert progress.problems() == ()


def test_a_watch_that_died_is_noticed_by_later_writes(progress: Progress, clock: Clock) -> None:
    progress.heard("Service")
    for clock.now in range(0, 400, 10):
        progress.wrote("Service")
    assert progress.problems() == ("no event of any Service has come for 350 s, although one was written",)


def test_a_quiet_cluster_is_healthy(progress: Progress, clock: Clock) -> None:
    progress.wrote("Service")
    progress.heard("Service")
    clock.now = 1e6
    assert progress.problems() == ()


def test_a_lease_that_is_not_renewed(progress: Progress) -> None:
    age = 14.0
    progress.holds_lease(lambda: age, 15)
    assert progress.problems() == ()
    age = 16.0
    assert progress.problems() == ("the lease was renewed 16 s ago",)


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


async def test_passes_are_counted_by_how_they_ended(progress: Progress) -> None:
    before = {end: value("manta_passes_total", result=end) for end in ("Succeeded", "Forbidden", "Bug", "Cancelled")}
    with progress.passing("a"):
        pass
    with progress.passing("a") as result:
        result.failure = "Forbidden"
    for error in (ValueError, asyncio.CancelledError):
        with pytest.raises(error), progress.passing("a"):
            raise error
    assert {end: value("manta_passes_total", result=end) - count for end, count in before.items()} == {
        "Succeeded": 1, "Forbidden": 1, "Bug": 1, "Cancelled": 1,
    }  # fmt: skip


def test_deployments_are_counted_by_ready() -> None:
    def counts() -> tuple[float, float]:
        return value("manta_deployments", ready="True"), value("manta_deployments", ready="False")

    serving, not_serving = counts()
    keys = [("counted", "a"), ("counted", "b")]
    metrics.judged(keys[0], "False")
    assert counts() == (serving, not_serving + 1)
    metrics.judged(keys[1], "True")
    metrics.judged(keys[0], "True")
    assert counts() == (serving + 2, not_serving)
    for key in (*keys, keys[0]):
        metrics.forgotten(key)
    assert counts() == (serving, not_serving)


async def test_over_http(progress: Progress, clock: Clock) -> None:
    metrics.requested("patch", "StatefulSet", 429)
    metrics.leads(True)
    async with serving(progress, "127.0.0.1", 0) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(path) as answer:
                assert answer.headers["Connection"] == "close"
                return answer.status, await answer.text()

        assert await get("/healthz") == (200, "ok\n")
        assert await get("/readyz") == (503, "the API server has not answered yet\n")
        progress.waits = str
        assert await get("/readyz") == (200, "ok\n")
        progress.wrote("Pod")
        clock.now = 1000
        assert await get("/healthz") == (503, "no event of any Pod has come for 1000 s, although one was written\n")
        _, text = await get("/metrics")
    assert 'manta_api_requests_total{code="429",kind="StatefulSet",verb="patch"} 1.0' in text
    assert "manta_leader 1.0" in text
    assert "process_resident_memory_bytes" in text


def test_json_log() -> None:
    try:
        int("why")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("manta", logging.WARNING, "f.py", 1, "%s\nfailed", ("it",), info)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    read = json.loads(line)
    assert (read["level"], read["logger"], read["message"]) == ("warning", "manta", "it\nfailed")
    assert "ValueError: invalid literal" in read["traceback"]
