"""Children of the launcher end with everything they started."""

import asyncio
import sys
import time
from pathlib import Path

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


async def test_output_goes_to_the_log_file(tmp_path):
    log = tmp_path / "log"
    child = await Child.start("talker", [sys.executable, "-I", "-c", "print('hello')"], {}, log)
    assert await child.wait() == 0
    assert log.read_text() == "hello\n"
