"""The control server and the worker's line to it, over real HTTP on loopback."""

import socket
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from manta_runtime.engine import control
from manta_runtime.engine.control import control_server
from manta_runtime.engine.group import Group, Refusal, answer_of, join, state_of
from manta_runtime.engine.head_link import HeadLink, Unreachable
from manta_runtime.engine.readiness import Health, judge_head
from manta_runtime.engine.settings import EngineSettings, SettingsError

HOST = "127.0.0.1"
TOKEN = "s3cret"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


class Head:
    """The smallest pod that keeps a group."""

    def __init__(self, epoch: str = "e1") -> None:
        self.group = Group(epoch=epoch, size=2, pod_prefix="tiny", address="10.0.0.1:6379", token="t0ken")
        self.health = Health()

    def readiness(self):
        return judge_head(self.group, self.health)

    def state(self):
        return state_of(self.group)

    def welcome(self, request):
        self.group, refusal = join(self.group, request, 0.0)
        return refusal or answer_of(self.group)


def worker_of(port: int) -> EngineSettings:
    return EngineSettings(
        rank=1,
        group_size=2,
        pod_ip="127.0.0.1",
        pod_name="tiny-1",
        head=HOST,
        port=8000,
        control_port=port,
        executor="ray",
        accelerator="cpu",
        accelerators_per_pod=1,
        startup_seconds=60,
        drain_seconds=5,
        scratch=Path("/tmp"),
        vllm_flags=("--model=/m",),
        group_token=TOKEN,
    )


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_probes_tell_alive_from_ready(session):
    head = Head()
    async with control_server(head, HOST, 0, TOKEN) as port:
        async with session.get(f"http://{HOST}:{port}/healthz") as response:
            assert response.status == 200
        async with session.get(f"http://{HOST}:{port}/readyz") as response:
            assert response.status == 503
            assert "have not joined" in await response.text()
        await HeadLink(session, worker_of(port), "i1").join("joined")
        head.health = Health(started=True, healthy=True, produced=True)
        async with session.get(f"http://{HOST}:{port}/readyz") as response:
            assert response.status == 200
        async with session.get(f"http://{HOST}:{port}/group") as response:
            state = await response.json()
    assert state["ready"] is True
    assert [member["podName"] for member in state["members"]] == ["tiny-1"]
    assert "t0ken" not in str(state)


async def test_a_worker_learns_where_to_connect(session):
    async with control_server(Head(), HOST, 0, TOKEN) as port:
        answer = await HeadLink(session, worker_of(port), "i1").join("waiting")
    assert (answer.epoch, answer.address, answer.token, answer.refusal) == ("e1", "10.0.0.1:6379", "t0ken", "")


async def test_another_epoch_is_refused(session):
    async with control_server(Head(), HOST, 0, TOKEN) as port:
        link = HeadLink(session, worker_of(port), "i1")
        await link.join("joined")
    async with control_server(Head(epoch="e2"), HOST, port, TOKEN):
        answer = await link.join("joined")
    assert "the head started again (epoch e2)" in answer.refusal


async def test_no_head_is_told_from_a_strange_head(session):
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        port = unused.getsockname()[1]
    with pytest.raises(Unreachable) as nobody:
        await HeadLink(session, worker_of(port), "i1").join("joined")
    assert nobody.value.refused
    unresolved = replace(worker_of(port), head="no-such-head.invalid")
    with pytest.raises(Unreachable, match="does not resolve yet") as unknown:
        await HeadLink(session, unresolved, "i1").join("joined")
    assert not unknown.value.refused


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"rank": "one"}', b'{"rank": 1, "stage": []}'])
async def test_malformed_joins_are_answered_400(session, body):
    async with control_server(Head(), HOST, 0, TOKEN) as port:
        headers = {"Content-Type": "application/json", **AUTHORIZED}
        async with session.post(f"http://{HOST}:{port}/group/join", data=body, headers=headers) as response:
            assert response.status == 400
            assert (await response.json())["message"]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN}\u00e9"],
)
async def test_a_stranger_learns_nothing_and_changes_nothing(session, authorization):
    head = Head()
    async with control_server(head, HOST, 0, TOKEN) as port:
        await HeadLink(session, worker_of(port), "i1").join("joined")
        before = head.group
        url = f"http://{HOST}:{port}/group/join"
        for body in ({"rank": 1, "instance": "evil", "stage": "waiting"}, {"rank": "one"}):
            async with session.post(url, json=body, headers={"Authorization": authorization}) as response:
                assert response.status == 401
                text = await response.text()
    assert "t0ken" not in text
    assert TOKEN not in text
    assert head.group == before


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer"}])
async def test_without_a_token_of_its_own_a_head_lets_nobody_in(session, headers):
    async with (
        control_server(Head(), HOST, 0, "") as port,
        session.post(f"http://{HOST}:{port}/group/join", json={}, headers=headers) as response,
    ):
        assert response.status == 401


def test_an_empty_token_proves_nothing():
    assert control._is_member("Bearer t", "t")
    assert not control._is_member("Bearer ", "")
    assert not control._is_member("Bearer t\udcff", "t")


async def test_a_worker_with_another_token_is_told(session):
    async with control_server(Head(), HOST, 0, TOKEN) as port:
        answer = await HeadLink(session, replace(worker_of(port), group_token="other"), "i1").join("waiting")
    assert "the bearer token is not this group's" in answer.refusal
    assert not answer.token


async def test_a_worker_has_no_group_to_join(session):
    head = Head()
    head.welcome = lambda request: Refusal(404, "only rank 0 is a head")
    async with control_server(head, HOST, 0, TOKEN) as port:
        answer = await HeadLink(session, worker_of(port), "i1").join("joined")
    assert answer.refusal == "only rank 0 is a head"


async def test_a_taken_port_is_a_sentence():
    async with control_server(Head(), HOST, 0, TOKEN) as port:
        with pytest.raises(SettingsError, match=f"cannot listen on {HOST}:{port}"):
            async with control_server(Head(), HOST, port, TOKEN):
                pass
