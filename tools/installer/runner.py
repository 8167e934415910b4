"""Runs the commands of the installation: output to a log, one progress line for people, the log's tail on failure."""

import os
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

HEARTBEAT_SECONDS = 15.0
NOISE = ("WARNING: Location 'file:", "WARNING: Url 'file:", "[notice]")


class InstallError(Exception):
    """Something the user must know: what went wrong, where, and what to do next."""


def interesting(line: str) -> str:
    """Shortens a line of pip's output for the progress line; empty if it says nothing about progress."""
    match = re.match(r"\s*(Collecting|Downloading|Installing collected packages|Building|Preparing)\b:?\s*(\S*)", line)
    if match is None:
        return ""
    if match[1].startswith("Installing"):
        return "unpacking"
    return f"{match[1].lower()} {match[2].rsplit('/', 1)[-1].split('==')[0][:50]}"


@dataclass
class Runner:
    """Runs commands and keeps their output in one log file."""

    log: Path
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def run(self, command: Sequence[str], *, told: bool = True) -> str:
        """Runs a command and returns its output.

        Args:
            command: program and arguments.
            told: print a heartbeat line while it takes long.

        Raises:
            InstallError: it ended with an exit code other than 0; the message has the tail of its output.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        lines: list[str] = []
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"\n$ {' '.join(command)}\n")
            code = self._follow(list(command), log, lines, told=told)
        if code != 0:
            raise InstallError(self._failure(command, code, lines))
        return "".join(lines)

    def _follow(self, command: list[str], log: TextIO, lines: list[str], *, told: bool) -> int:
        """Copies the output to the log and to `lines` while the command runs; returns its exit code."""
        latest: deque[str] = deque(maxlen=1)
        finished = threading.Event()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=self.env
        ) as process:
            if told:
                threading.Thread(target=_heartbeat, args=(finished, latest), daemon=True).start()
            try:
                for line in process.stdout or ():
                    log.write(line)
                    lines.append(line)
                    if interesting(line):
                        latest.append(interesting(line))
                return process.wait()
            finally:
                finished.set()
                if process.poll() is None:
                    process.terminate()

    def _failure(self, command: Sequence[str], code: int, lines: Sequence[str]) -> str:
        said = [line.rstrip() for line in lines if line.strip() and not line.startswith(NOISE)]
        tail = "\n".join(f"    {line}" for line in said[-15:])
        return (
            f"this command ended with exit code {code}:\n    {' '.join(command)[:300]}\n  its last lines:\n{tail}\n"
            f"  the whole output is in {self.log}; run the same command again to go on from here"
        )


def _heartbeat(finished: threading.Event, latest: "deque[str]") -> None:
    """Says every few seconds that work goes on, and at what."""
    started = time.monotonic()
    while not finished.wait(HEARTBEAT_SECONDS):
        doing = f": {latest[-1]}" if latest else ""
        say(f"        {time.monotonic() - started:3.0f} s{doing}")


def say(text: str, *, end: str = "\n") -> None:
    """Prints at once, also through a pipe."""
    sys.stdout.write(text + end)
    sys.stdout.flush()
