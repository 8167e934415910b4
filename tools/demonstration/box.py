"""`manta up` as a child of the demo: its words are passed on, its state folder is found, its end is awaited."""

import asyncio
import fcntl
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from demonstration.tell import DemoFailed, say
from manta_operator.box.kubelet import shim
from manta_operator.box.state import BoxState, read_state

ROOT = Path(__file__).parents[2]
EXAMPLES = (ROOT / "examples" / "tiny.yaml", ROOT / "examples" / "tiny-sharded.yaml")
MODELS = f"/var/lib/manta/models={ROOT / '.models'}"
STOP_SECONDS = 150.0
WORDS = "up.log"  # a file and not a pipe, so that the box can outlive the demo (--keep)


@contextmanager
def free_state() -> Iterator[Path]:
    """Claim a state folder no box runs in, for as long as the body runs: several demos can run at once.

    Raises:
        DemoFailed: a hundred of them do already.
    """
    (ROOT / ".manta").mkdir(exist_ok=True)
    for number in range(1, 100):
        folder = ROOT / ".manta" / ("demo" if number == 1 else f"demo-{number}")
        with folder.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if read_state(folder) is None:
                yield folder
                return
    raise DemoFailed(f"a hundred demos run from {ROOT}; end some with `manta down --state FOLDER`", code=2)


class Up:
    """A running `manta up`."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self._reader = asyncio.create_task(self._pass_on())
        self.folder = folder

    async def _pass_on(self) -> None:
        """Pass on what the box writes into its file, until it has ended and everything is read."""
        with (self.folder / WORDS).open("r", errors="replace") as words:
            while True:
                line = words.readline()
                if line:
                    say(f"  {line.rstrip()}")
                elif self._process.returncode is not None:
                    return
                else:
                    await asyncio.sleep(0.1)

    async def state(self, seconds: float) -> BoxState:
        """Wait until the box has written its state. Raises DemoFailed if it ended or takes longer."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            found = read_state(self.folder)
            if found is not None and found.kubeconfig.is_file():
                return found
            await asyncio.sleep(0.1)
        raise DemoFailed(f"the box did not start within {seconds:.0f} s")

    def check(self) -> None:
        """Raise DemoFailed if `manta up` has ended."""
        code = self._process.returncode
        if code is not None:
            raise DemoFailed(f"`manta up` ended with exit code {code}; its words are above", code=2 if code == 2 else 1)

    async def stop(self) -> None:
        """End the box in order and wait for it. Raises DemoFailed if it does not end."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            raise DemoFailed(f"the box did not end within {STOP_SECONDS:.0f} s and was killed") from None
        await self._reader


@asynccontextmanager
async def up(folder: Path, *, keep: bool) -> AsyncIterator[Up]:
    """Run `manta up` for the body; it ends with the body unless `keep` and the body succeeded."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240
    command = [sys.executable, "-m", "manta_operator.cli", "up", f"--state={folder}", f"--map={MODELS}"]
    command += [f"--file={path.relative_to(ROOT)}" for path in EXAMPLES]
    if not keep:
        # The shim kills the whole box when its standard input closes: when this demo dies, however it dies.
        command = [sys.executable, "-I", "-S", str(shim.__file__), "--", *command]
    with (folder / WORDS).open("w") as words:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.DEVNULL if keep else asyncio.subprocess.PIPE,
            stdout=words,
            stderr=words,
            start_new_session=True,  # Ctrl-C reaches the demo alone, which then ends the box in order
        )
    box = Up(process, folder)
    try:
        yield box
    except BaseException:
        await box.stop()
        raise
    if not keep:
        await box.stop()
