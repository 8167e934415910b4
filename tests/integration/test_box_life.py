"""`manta up` as its user runs it, without engines: how it starts, is refused, and ends, also when it is killed."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from manta_operator.box.addresses import claim_number
from manta_operator.box.box import Box, BoxConfig, BoxError
from manta_operator.box.state import read_state

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
READY = "kubectl:"


class Up:
    """One `manta up`."""

    def __init__(self, state, *arguments):
        self.state = state
        self.words = state.with_suffix(".out")
        self.arguments = arguments

    async def start(self):
        with self.words.open("wb") as output:
            self.process = await asyncio.create_subprocess_exec(
                *manta("up", f"--state={self.state}", *self.arguments),
                cwd=ROOT,
                env=ENVIRONMENT,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self

    async def ready(self):
        await until(lambda: READY in self.said() and read_state(self.state))
        return read_state(self.state)

    def said(self):
        return self.words.read_text()

    async def end(self, number):
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 60)

    def processes(self):
        """Everything that runs for this box, this process excepted."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = [*process.cmdline(), *process.environ().values()]
                if process.pid != os.getpid() and any(str(self.state) in word for word in words):
                    found.append(process)
        return found

    async def operator(self):
        def running():
            operators = [p for p in self.processes() if "operator" in p.cmdline() and "shim.py" not in str(p.cmdline())]
            return operators[0] if operators else None

        return await until(running)


ENVIRONMENT = {
    **os.environ,
    "PYTHONUNBUFFERED": "1",
    "PYTHONPATH": os.pathsep.join((f"{ROOT}/operator", f"{ROOT}/runtime")),
}


def manta(*arguments):
    return [sys.executable, "-m", "manta_operator.cli", *arguments]


async def run(*arguments, **more):
    """Exit code and words of a command."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *arguments, cwd=ROOT, stdout=pipe, stderr=asyncio.subprocess.STDOUT, env={**ENVIRONMENT, **more}
    )
    words, _ = await asyncio.wait_for(process.communicate(), 90)
    return process.returncode, words.decode()


async def until(holds, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return result


def run_folder(state):
    return Path(f"/tmp/manta-{os.getuid()}-{state.number}")


def traces(up, state):
    """What is left on the machine, by the claim that nothing is; tests beside this one may take its number."""
    claim = claim_number(state.number)
    left = claim is not None and run_folder(state).exists()
    if claim is not None:
        claim.listener.close()
    return [*up.processes(), *([run_folder(state)] if left else [])]


@pytest.fixture
async def boxes(tmp_path):
    begun = []

    async def start(name="box", *arguments):
        begun.append(await Up(tmp_path / name, *arguments).start())
        return begun[-1]

    yield start
    for up in begun:
        with contextlib.suppress(ProcessLookupError):
            up.process.kill()
        await up.process.wait()
        await until(lambda up=up: not up.processes())


async def test_starts_in_seconds_and_its_kubeconfig_works(boxes):
    up = await boxes()
    state = await up.ready()
    # Its own seconds: what else the machine does is not its fault.
    assert psutil.Process(up.process.pid).cpu_times().user < 8
    assert state.kubeconfig.stat().st_mode & 0o777 == 0o600
    code, words = await run(*manta("status", f"--state={up.state}"))
    assert code == 0, words
    assert await up.end(signal.SIGINT) == 0, up.said()
    assert traces(up, state) == []
    assert {path.name for path in up.state.iterdir()} <= {"logs", "lock"}


async def test_a_second_box_in_the_same_folder_is_refused_and_harms_nothing(boxes):
    up = await boxes()
    state = await up.ready()
    code, words = await run(*manta("up", f"--state={up.state}"))
    assert code == 2
    assert f"process {state.pid}" in words
    assert "manta down" in words
    assert state.kubeconfig.exists()
    assert read_state(up.state) == state
    code, words = await run(*manta("down", f"--state={up.state}"))
    assert code == 0, words
    assert await asyncio.wait_for(up.process.wait(), 60) == 0
    assert traces(up, state) == []


async def test_two_started_at_once_in_one_folder_leave_one(boxes):
    one, two = await boxes("box"), await boxes("box")
    done, _ = await asyncio.wait(
        {asyncio.create_task(up.process.wait()) for up in (one, two)}, timeout=60, return_when=asyncio.FIRST_COMPLETED
    )
    assert [task.result() for task in done] == [2]
    winner = one if one.process.returncode is None else two
    await until(lambda: read_state(winner.state))
    assert await winner.end(signal.SIGTERM) == 0


async def test_two_boxes_live_side_by_side(boxes):
    one, two = await boxes("one"), await boxes("two")
    states = [await one.ready(), await two.ready()]
    assert states[0].number != states[1].number
    assert await one.end(signal.SIGTERM) == 0, one.said()
    assert traces(one, states[0]) == []
    code, words = await run(*manta("status", f"--state={two.state}"))
    assert code == 0, words
    assert await two.end(signal.SIGINT) == 0


async def test_kill_9_leaves_nothing_and_the_next_start_is_clean(boxes):
    up = await boxes()
    state = await up.ready()
    await up.operator()
    await up.end(signal.SIGKILL)
    await until(lambda: not traces(up, state))
    assert read_state(up.state) is None
    again = await boxes()
    state = await again.ready()
    code, words = await run(*manta("status", f"--state={up.state}"))
    assert code == 0, words
    assert await again.end(signal.SIGINT) == 0
    assert traces(again, state) == []


async def test_a_killed_operator_comes_back(boxes):
    up = await boxes()
    await up.ready()
    first = await up.operator()
    first.kill()
    await until(lambda: not first.is_running())
    second = await up.operator()
    assert second.pid != first.pid
    assert "operator ended with exit code 137" in up.said()
    assert await up.end(signal.SIGINT) == 0


async def test_ctrl_c_while_it_starts_ends_it_too(boxes):
    up = await boxes()
    await until((up.state / "kubeconfig").exists)
    assert await up.end(signal.SIGINT) == 0, up.said()
    assert up.processes() == []


async def test_a_state_folder_that_cannot_be_used_is_told(boxes, tmp_path):
    (tmp_path / "file").write_text("")
    code, words = await run(*manta("up", f"--state={tmp_path / 'file' / 'state'}"))
    assert code == 2
    assert str(tmp_path / "file") in words
    assert "Traceback" not in words


@pytest.mark.parametrize("broken", ["ApiServer.start", "Kubelet.__init__", "write_state"])
async def test_a_start_that_fails_half_way_gives_everything_back(tmp_path, monkeypatch, broken):
    def fail(*_):
        raise RuntimeError("broken on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(f"manta_operator.box.box.{broken}", fail)
        box = Box(BoxConfig(state=tmp_path))
        with pytest.raises(RuntimeError, match="on purpose"):
            await box.start()
    assert not run_folder(box).exists()
    assert {path.name for path in tmp_path.iterdir()} == {"logs", "lock"}
    again = Box(BoxConfig(state=tmp_path))
    await again.start()
    await again.stop()


async def test_a_part_that_fails_is_told(tmp_path, monkeypatch):
    box = Box(BoxConfig(state=tmp_path))
    await box.start()
    try:
        monkeypatch.setattr("manta_operator.box.kubelet.kubelet.Kubelet._see", lambda *_: 1 / 0)
        spec = {"containers": [{"name": "main", "image": "any"}]}
        meta = {"name": "pod", "namespace": "default"}
        box.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        with pytest.raises(BoxError, match="the kubelet of the box failed"):
            await asyncio.wait_for(box.broken(), 60)
    finally:
        await box.stop()
