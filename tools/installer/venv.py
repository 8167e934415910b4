"""The virtual environment that `tools/install.py` fills: made, filled with pip, and stamped with what is done."""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from installer.plan import Step
from installer.runner import Runner, say


@dataclass
class Venv:
    """The virtual environment being filled, with its stamp: which steps are done, and for which folder."""

    root: Path
    runner: Runner

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.root / ".venv"

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin/python")

    def done(self) -> dict[str, str]:
        """Keys of the finished steps by name; empty if there is none, or if the folder was moved since."""
        with suppress(OSError, ValueError):
            stamp = json.loads((self.folder / "manta-install.json").read_text(encoding="utf-8"))
            if stamp["root"] == str(self.root) and Path(self.python).exists():
                return dict(stamp["steps"])
        return {}

    def finish(self, step: Step) -> None:
        """Notes in the stamp that a step is done."""
        stamp = {"root": str(self.root), "steps": {**self.done(), step.name: step.key}}
        temporary = self.folder / "manta-install.json.part"
        temporary.write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.folder / "manta-install.json")

    def pip(self, *arguments: str, told: bool = True) -> str:
        """Runs pip in it and returns the output."""
        return self.runner.run([self.python, "-m", "pip", *arguments], told=told)

    def install(self, *arguments: str) -> None:
        """Runs `pip install` within the constraints."""
        constraints = self.root / "requirements/constraints.txt"
        pinned = ["--constraint", str(constraints)] if constraints.exists() else []
        self.pip("install", "--no-input", "--progress-bar=off", *pinned, *arguments)

    def make(self, python: str) -> None:
        """Creates the environment if it is missing, is not Python 3.11, or was made in another folder."""
        config = self.folder / "pyvenv.cfg"
        text = config.read_text(encoding="utf-8") if config.exists() else ""
        ours = str(self.folder) in text or "command" not in text
        if ours and "version = 3.11" in text and Path(self.python).exists():
            return
        say("  new virtual environment in .venv")
        self.runner.run([python, "-m", "venv", "--clear", str(self.folder)], told=False)
