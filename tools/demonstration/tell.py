"""How the demo speaks: headings with the time so far, and a table of phases at the end."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class DemoFailed(Exception):
    """Something did not work; `code` is the exit code, 2 where the machine or the input is at fault."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def say(text: str = "") -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


@dataclass
class Story:
    """The phases of one run and how long each took, in seconds."""

    began: float = field(default_factory=time.monotonic)
    phases: list[tuple[str, float]] = field(default_factory=list)
    answered: float | None = None

    @contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """Print the title, run the body, note its time."""
        start = time.monotonic()
        say(f"\n\033[1m{title}\033[0m" if _colour() else f"\n== {title}")
        yield
        self.phases.append((title, time.monotonic() - start))

    def earlier(self, title: str, seconds: float) -> None:
        """Count what happened before this program was started as a phase."""
        self.began -= seconds
        self.phases.append((title, seconds))

    def first_answer(self) -> None:
        """Note that the first question has been answered."""
        self.answered = time.monotonic() - self.began

    def summary(self) -> None:
        """Print how long each phase took."""
        say()
        for title, seconds in self.phases:
            say(f"  {seconds:6.1f} s  {title}")
        say(f"  {time.monotonic() - self.began:6.1f} s  in all; the first answer came after {self.answered or 0:.1f} s")


def _colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
