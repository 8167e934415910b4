"""Children of the launcher end with everything they started."""

import asyncio
import sys
import time
from pathlib import Path

import psutil
import pytest

from manta_runtime.engine import processes
from manta_runtime.engine.processes import Child

PARENT = """
import subprocess, sys, time
sleep = [sys.executable, "-I", "-c", "import time; time.sleep(60)"]
grandchild = subprocess.Popen(sleep, start_new_session=True)
open(sys.argv[1], "w").write(f"{grandchild.pid} ")
time.sleep(60)
"""


def read_when_written(file: Path) -> int:
    for _ in range(250):
        if file.exists() and file.read_text().endswith(" "):
            return int(file.read_text())
        time.sleep(0.02)
    raise AssertionError(f"{file} was not written")


def ends(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().split()[2] == "Z":
            return True
        time.sleep(0.02)
    return False


async def test_stopping_a_child_takes_its_detached_grandchildren_along(tmp_path):
    marker = tmp_path / "pid"
    child = await Child.start("parent", [sys.executable, "-I", "-c", PARENT, str(marker)], {})
    grandchild = await asyncio.to_thread(read_when_written, marker)
    await child.stop(grace=2)
    assert child.exit_code == 128 + 15
    assert await asyncio.to_thread(ends, grandchild)


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path):
    stubborn = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "open(sys.argv[1], 'w').write('1 '); time.sleep(60)"
    )
    marker = tmp_path / "up"
    child = await Child.start("stubborn", [sys.executable, "-I", "-c", stubborn, str(marker)], {})
    await asyncio.to_thread(read_when_written, marker)
    await child.stop(grace=0.2)
    assert child.exit_code == 128 + 9


async def test_what_does_not_die_of_sigkill_is_not_waited_for_without_end(monkeypatch, caplog):
    monkeypatch.setattr(processes, "_GONE_SECONDS", 0.1)
    child = await Child.start("held", [sys.executable, "-I", "-c", "import time; time.sleep(60)"], {})
    process = child._process  # nothing keeps a process here from dying: the driver that holds it is played
    ended, process.wait = process.wait, asyncio.Event().wait
    async with asyncio.timeout(60):
        await child.kill()
    assert f"held (process {child.pid}) has not ended 0 s after SIGKILL: a driver or a disk holds it" in caplog.text
    await ended()


async def test_every_line_of_a_child_is_heard_also_one_without_an_end():
    talk = "import os; os.write(1, b'hello\\n\\n  two'); os.write(2, b' three\\nla'); os.write(1, b'st')"
    heard = []
    child = await Child.start("talker", [sys.executable, "-I", "-c", talk], {}, heard.append)
    assert await child.wait() == 0
    assert heard == ["hello", "", "  two three", "last"]


async def test_a_grandchild_that_holds_on_to_the_output_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(processes, "_LAST_LINES_SECONDS", 0.1)
    heard = []
    leave = (
        "import subprocess, sys; print('bye', flush=True); "
        "subprocess.Popen([sys.executable, '-I', '-c', 'import time; time.sleep(60)'])"
    )
    processes.adopt_orphans()
    child = await Child.start("talker", [sys.executable, "-I", "-c", leave], {}, heard.append)
    async with asyncio.timeout(5):
        assert await child.wait() == 0
    assert heard == ["bye"]
    for orphan in psutil.Process().children():
        if "time.sleep(60)" in orphan.cmdline()[-1]:
            orphan.kill()
            orphan.wait()


async def test_what_cannot_be_started_leaves_no_open_pipe():
    before = psutil.Process().num_fds()
    with pytest.raises(OSError, match="no/such/program"):
        await Child.start("nobody", ["/no/such/program"], {}, print)
    assert psutil.Process().num_fds() == before
