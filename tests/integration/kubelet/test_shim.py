"""Nothing of a container outlives its main process, the kubelet, or the shim."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from manta_operator.box.kubelet import shim
from manta_operator.box.kubelet.process import Launch, Process
from manta_operator.box.kubelet.reaper import kill_marked, marked

pytestmark = pytest.mark.integration

# Forks twice, each time with a session of its own, as daemons (Ray's among them) do.
DAEMON = 'setsid sh -c \'setsid sleep {marker} & setsid sh -c "trap \\"\\" TERM HUP; sleep {marker}" &\' &'


def launch(tmp_path, script, **more):
    env = {"PATH": os.environ["PATH"]}
    return Launch(os.urandom(8).hex(), ["sh", "-c", script], env, tmp_path, tmp_path / "log", **more)


def alive_shm(name):
    return Path("/dev/shm", name).exists()


async def wait_for(holds, seconds=8.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 42", 42), ("kill -TERM $$", 143)])
async def test_the_exit_code_is_the_main_processs(tmp_path, script, code):
    assert await Process(launch(tmp_path, script)).wait() == code


async def test_when_the_main_process_ends_its_daemons_die(tmp_path, alive):
    marker = "31536101"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = Process(launch(tmp_path, DAEMON.format(marker=marker) + "sleep 0.3", scratch=scratch))
    await wait_for(lambda: len(alive(f"sleep\0{marker}")) == 2)
    assert await process.wait() == 0
    assert not alive(marker)
    assert not scratch.exists()


async def test_kill_ends_the_whole_tree(tmp_path, alive):
    marker = "31536102"
    process = Process(launch(tmp_path, DAEMON.format(marker=marker) + f"sleep {marker}"))
    await wait_for(lambda: len(alive(f"sleep\0{marker}")) == 3)
    assert await process.kill_and_wait() == 137
    assert not alive(marker)


async def test_a_frozen_tree_and_a_frozen_shim_can_be_killed(tmp_path, alive, monkeypatch):
    monkeypatch.setattr("manta_operator.box.kubelet.process._SHIM_SECONDS", 0.2)
    marker = "31536103"
    process = Process(launch(tmp_path, f"sleep {marker} & sleep {marker}"))
    await wait_for(lambda: len(alive(f"sleep\0{marker}")) == 2)
    for pid in [*shim.descendants(process.pid), process.pid]:
        os.kill(pid, signal.SIGSTOP)
    assert await process.kill_and_wait() == 137
    await wait_for(lambda: not alive(marker))


async def test_sigterm_reaches_the_main_process_only(tmp_path):
    script = (
        "(trap 'echo child' TERM; echo up; while :; do sleep 0.02; done) & trap 'echo main; exit 5' TERM; wait; wait"
    )
    process = Process(launch(tmp_path, script))
    await wait_for(lambda: (tmp_path / "log").read_text() == "up\n")
    process.terminate()
    assert await process.wait() == 5
    assert (tmp_path / "log").read_text() == "up\nmain\n"


async def test_a_sigterm_at_once_is_not_lost(tmp_path):
    process = Process(launch(tmp_path, "sleep 60"))
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 8) == 143


async def test_a_killed_shim_takes_its_tree_along(tmp_path, alive):
    marker = "31536104"
    process = Process(launch(tmp_path, DAEMON.format(marker=marker) + f"sleep {marker}"))
    await wait_for(lambda: len(alive(f"sleep\0{marker}")) == 3)
    os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == 137
    assert not alive(marker)


# Each makes something in /dev/shm, kills whoever would clean up for it, says what it made, and then dies or sleeps.
SHARED_MEMORY = """
from multiprocessing import resource_tracker, shared_memory
held = shared_memory.SharedMemory(create=True, size=4096)
name = held.name
"""
# Its creator maps a semaphore under a name that is gone by then: only the inode tells.
SEMAPHORE = """
import multiprocessing
from multiprocessing import resource_tracker
lock = multiprocessing.get_context("spawn").Lock()
name = "sem." + lock._semlock.name.removeprefix("/")
"""
NO_CLEANER = """
import os, time
os.kill(resource_tracker._resource_tracker._pid, 9)
print(name, flush=True)
time.sleep(float(os.environ["LIFE"]))
os.kill(os.getpid(), 9)
"""


def python(tmp_path, script, life):
    command = [sys.executable, "-c", script]
    return Process(Launch(os.urandom(8).hex(), command, {"PATH": "/bin", "LIFE": life}, tmp_path, tmp_path / "log"))


async def made(tmp_path):
    log = tmp_path / "log"
    await wait_for(lambda: log.exists() and log.read_text().endswith("\n"))
    return log.read_text().split()[0]


@pytest.mark.parametrize("script", [SHARED_MEMORY, SEMAPHORE])
async def test_what_a_killed_process_has_in_shared_memory_is_removed(tmp_path, script):
    ended = python(tmp_path, script + NO_CLEANER, "0.5")
    assert await ended.wait() == 137
    assert not alive_shm(await made(tmp_path))


@pytest.mark.parametrize("script", [SHARED_MEMORY, SEMAPHORE])
async def test_a_killed_shims_shared_memory_is_removed_too(tmp_path, script):
    process = python(tmp_path, script + NO_CLEANER, "60")
    name = await made(tmp_path)
    assert alive_shm(name)
    os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == 137
    assert not alive_shm(name)


async def test_shared_memory_that_another_process_uses_stays_until_that_ends(tmp_path):
    process = python(tmp_path, SHARED_MEMORY + NO_CLEANER, "60")
    name = await made(tmp_path)
    (tmp_path / "other").mkdir()
    script = (
        f"from multiprocessing import shared_memory; held = shared_memory.SharedMemory({name!r}); name = held.name\n"
    )
    other = python(tmp_path / "other", script + "from multiprocessing import resource_tracker" + NO_CLEANER, "60")
    await wait_for((tmp_path / "other" / "log").read_text)
    await process.kill_and_wait()
    assert alive_shm(name)
    await other.kill_and_wait()
    assert not alive_shm(name)


def test_marked_processes_are_found_and_killed(tmp_path):
    env = {"PATH": os.environ["PATH"], "MANTA_TEST_MARK": str(tmp_path)}
    child = subprocess.Popen(["sh", "-c", "env -i sleep 60 & wait"], env=env, start_new_session=True)
    while len(marked("MANTA_TEST_MARK", str(tmp_path))) < 2:
        time.sleep(0.01)
    assert kill_marked("MANTA_TEST_MARK", str(tmp_path))
    child.wait()
    assert not marked("MANTA_TEST_MARK", str(tmp_path))


async def test_kill_9_of_the_kubelet_leaves_no_process(tmp_path, alive):
    marker = "31536105"
    script = textwrap.dedent(f"""
        import asyncio, os, pathlib
        from manta_operator.box.kubelet.process import Launch, Process
        from manta_operator.box.kubelet.reaper import become_subreaper

        async def main():
            become_subreaper()
            folder = pathlib.Path({str(tmp_path)!r})
            for number in range(2):
                scratch = folder / f"scratch{{number}}"
                scratch.mkdir()
                command = ["sh", "-c", {DAEMON.format(marker=marker) + f"sleep {marker}"!r}]
                Process(Launch(str(number), command, dict(os.environ), folder, folder / "log", scratch))
            await asyncio.sleep(60)

        asyncio.run(main())
    """)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    kubelet = await asyncio.create_subprocess_exec(sys.executable, "-c", script, env=env)
    try:
        await wait_for(lambda: len(alive(f"sleep\0{marker}")) == 6)
    finally:
        kubelet.kill()
        await kubelet.wait()
    await wait_for(lambda: not alive(marker))
    await wait_for(lambda: not list(tmp_path.glob("scratch*")))
