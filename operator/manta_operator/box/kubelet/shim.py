"""Parent of one container: starts it, and makes sure that nothing of it outlives it, or the kubelet.

Stand-alone (`python -I -S shim.py [--remove DIR] -- COMMAND ARG...`, standard library only, started by `process.py`).
Standard input is a pipe which the kubelet holds open: when it closes, for whatever reason, everything is killed.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType

_PR_SET_CHILD_SUBREAPER = 36
_CLEANER_SECONDS = 1.0
_POLL_SECONDS = 0.02
_LOOK_SECONDS = 5.0
_LOOK_SOON_SECONDS = 0.1
_IN_CREATE = 0x100
_SHARED = "/dev/shm/"  # noqa: S108 - what engines leave there is what we look for
# These remove the shared memory of processes that died: they do so by themselves once those are gone.
_CLEANERS = (b"multiprocessing.resource_tracker", b"torch_shm_manager")


def children_by_parent() -> dict[int, list[int]]:
    """All processes of this machine: parent id → child ids."""
    tree: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208  (pathlib would double the time of a scan)
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = Path("/proc", entry, "stat").read_bytes()
                # The command, in parentheses, may itself hold spaces and parentheses.
                parent = int(stat.rpartition(b")")[2].split()[1])
                tree.setdefault(parent, []).append(int(entry))
    return tree


def descendants(root: int) -> list[int]:
    """Process ids below `root`, parents before children."""
    tree = children_by_parent()
    found = list(tree.get(root, ()))
    for pid in found:
        found.extend(tree.get(pid, ()))
    return found


def _is_cleaner(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return any(name in command for name in _CLEANERS)


def shared_memory(pids: list[int]) -> set[str]:
    """Files in /dev/shm that these processes have mapped and not yet unlinked.

    Found by inode: glibc maps a new semaphore under a name that it drops at once, so its creator shows "(deleted)".
    """
    mapped: set[int] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
                if _SHARED in line:
                    mapped.add(int(line.split(maxsplit=5)[4]))
    found: set[str] = set()
    with contextlib.suppress(OSError), os.scandir(_SHARED) as entries:
        found.update(entry.path for entry in entries if entry.inode() in mapped)
    return found


def _tell_of_new_shared_memory() -> int | None:
    """A file descriptor that is readable once something is made in /dev/shm; None where the kernel has none to give."""
    libc = ctypes.CDLL(None)
    descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor >= 0 and libc.inotify_add_watch(descriptor, _SHARED.encode(), _IN_CREATE) >= 0:
        return descriptor
    return None


def remove_shared_memory(names: set[str]) -> None:
    """Unlink what the container left in /dev/shm, unless another process still uses it.

    vLLM and Ray unlink theirs when they end in order; the kernel does not, when they are killed.
    """
    if not names:
        return
    others = shared_memory([int(entry) for entry in os.listdir("/proc") if entry.isdigit()])  # noqa: PTH208
    for name in names - others:
        with contextlib.suppress(OSError):
            if Path(name).stat().st_uid == os.getuid():
                Path(name).unlink()


def _reap() -> bool:
    """Collect children that ended; False once there is no child, hence no descendant, left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def kill_all() -> None:
    """SIGKILL every descendant until none is left; those that clean up shared memory get a moment for it."""
    deadline = time.monotonic() + _CLEANER_SECONDS
    while _reap():
        patient = time.monotonic() < deadline
        for pid in descendants(os.getpid()):
            if not (patient and _is_cleaner(pid)):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def _start(command: list[str]) -> int:
    """Fork and execute the command in a process group of its own; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.set_wakeup_fd(-1)
        # Python ignores the first two, we the third; the program shall find all of them at their defaults.
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        os.write(2, f"cannot start {command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _ended(main: int) -> int | None:
    """Exit code of the main process if it has ended (128 + signal, as shells count); reaps orphans on the way."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == main:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
    return None


def supervise(command: list[str], shared: set[str]) -> int:
    """Run the command until it ends or standard input closes; SIGTERM is passed on to it alone.

    Names of shared memory that the container uses are added to `shared`: they cannot be found once it is dead.
    """
    main = 0

    def forward(number: int, _frame: FrameType | None) -> None:
        if main:
            with contextlib.suppress(ProcessLookupError):
                os.kill(main, number)

    wake_read = _wake_on_signals()
    signal.signal(signal.SIGTERM, forward)
    # A SIGTERM that comes before the process exists must not be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main = _start(command)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    created = _tell_of_new_shared_memory()
    watched = [0, wake_read] if created is None else [0, wake_read, created]
    pause = _LOOK_SECONDS
    while True:
        readable, _, _ = select.select(watched, [], [], pause)
        # What is made is mapped a moment later.
        pause = _LOOK_SOON_SECONDS if created in readable else _LOOK_SECONDS
        for descriptor in readable:
            if descriptor != 0:
                os.read(descriptor, 4096)
        shared |= shared_memory(descendants(os.getpid()))
        code = _ended(main)
        if code is not None:
            return code
        if 0 in readable and not os.read(0, 4096):
            return 128 + signal.SIGKILL


def _wake_on_signals() -> int:
    """A file descriptor that is readable after SIGCHLD or a signal that is passed on."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return wake_read


def main(arguments: list[str]) -> int:
    """`[--remove DIR] -- COMMAND ARG...`: supervise, kill what is left, remove DIR; returns the exit code."""
    split = arguments.index("--")
    options, command = arguments[:split], arguments[split + 1 :]
    if os.getsid(0) != os.getpid():
        os.setsid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        os.write(2, b"the shim cannot become a subreaper (prctl failed): Linux 3.4 or later is needed\n")
        return 126
    shared: set[str] = set()
    kubelet = os.getppid()
    try:
        return supervise(command, shared)
    finally:
        kill_all()
        remove_shared_memory(shared)
        if options[:1] == ["--remove"]:
            _remove(Path(options[1]), orphaned=os.getppid() != kubelet)


def _remove(scratch: Path, *, orphaned: bool) -> None:
    """Remove the container's folder; without a kubelet, the last shim also removes the box's, which holds them all."""
    shutil.rmtree(scratch, ignore_errors=True)
    if orphaned:
        with contextlib.suppress(OSError):  # not empty yet
            scratch.parent.rmdir()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
