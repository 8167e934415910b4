"""Makes the quantized and sparse checkpoints of the tests from the tiny model: `python tools/checkpoints.py`.

Each becomes a folder beside the model, `.models/tiny-int8` and so on, that remembers what it was made from: the model,
the code and the version of llm-compressor. Those that are up to date are left alone. What the methods are is in
`compression/methods.py`; they run in an environment of their own (`make checkpoints` installs it).
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from compression.methods import METHODS, Method, by_name
from tiny_model import STAMP as MODEL_STAMP
from tiny_model import one_at_a_time

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / "build/compressor"
STAMP = "manta-checkpoint.json"
LOG = ROOT / "build/checkpoints.log"
_TAIL = 8


class NotMade(Exception):
    """The checkpoints could not be made; the message says why and what to do."""


def folder_of(model: Path, method: Method) -> Path:
    """Return where the checkpoint of a method lies: beside the model."""
    return model.with_name(f"{model.name}-{method.name}")


def fingerprint(model: Path, release: str) -> str:
    """Hash everything a checkpoint is made from: the model, the code, the release of llm-compressor.

    Raises:
        NotMade: the model is not there.
    """
    try:
        made_from = json.loads((model / MODEL_STAMP).read_text(encoding="utf-8"))["inputs"]
    except (OSError, ValueError, KeyError) as error:
        raise NotMade(f"{model} is no whole model ({error}): run `make model`") from error
    digest = hashlib.sha256(f"{made_from}\n{release}\n".encode())
    for path in sorted((Path(__file__).parent / "compression").glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_fresh(folder: Path, key: str) -> bool:
    """Tell whether the folder holds a whole checkpoint that was made from the same."""
    with suppress(OSError, ValueError, KeyError):
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        return bool(stamp["inputs"] == key and all((folder / name).is_file() for name in stamp["files"]))
    return False


def release_of(environment: Path) -> str:
    """Return the release of llm-compressor in an environment.

    Raises:
        NotMade: it is not installed there.
    """
    found = sorted(environment.glob("lib/python3*/site-packages/llmcompressor-*.dist-info"))
    if not found:
        raise NotMade(f"llm-compressor is not installed in {environment}: run `make checkpoints`")
    return found[-1].name.removesuffix(".dist-info")


def make(model: Path, methods: Sequence[Method], key: str) -> None:
    """Run the methods in their environment, one process for all: its imports take longer than rounding does.

    Raises:
        NotMade: it failed; the checkpoints before the one that failed are there.
    """
    command = [ENVIRONMENT / "bin/python", "-m", "compression.compress", model, model.parent, key]
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(Path(__file__).parent)}
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("wb") as log:
        command += [method.name for method in methods]
        done = subprocess.run(
            command, cwd=LOG.parent, env=os.environ | quiet, stdout=log, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        tail = "\n  ".join(LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:])
        raise NotMade(f"llm-compressor ended with code {done.returncode}; the end of {LOG}:\n  {tail}")


def say(text: str) -> None:
    """Print one progress line at once, also through a pipe."""
    print(f"checkpoints: {text}", flush=True)


def bring_up_to_date(model: Path, methods: Sequence[Method], *, force: bool) -> None:
    """Make what is missing or stale. Raises NotMade."""
    key = fingerprint(model, release_of(ENVIRONMENT))
    with one_at_a_time(model.with_name("checkpoints")):
        wanted = [each for each in methods if force or not is_fresh(folder_of(model, each), key)]
        if not wanted:
            say("up to date")
            return
        minutes = " (minutes)" if any(each.slow for each in wanted) else ""
        say(f"making {', '.join(each.name for each in wanted)}{minutes}; log: {LOG.relative_to(ROOT)}")
        make(model, wanted, key)
    for each in wanted:
        folder = folder_of(model, each)
        seconds = json.loads((folder / STAMP).read_text(encoding="utf-8"))["seconds"]
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        say(f"{folder.name}: {each.title}, {size / 1e6:.1f} MB, {seconds} s")


def main() -> int:
    """Parse the command line, make what is not up to date, return the exit code."""
    parser = argparse.ArgumentParser(description="Make quantized and sparse checkpoints of the tiny model (cached).")
    parser.add_argument("method", nargs="*", help="only these; without any, all that take seconds")
    parser.add_argument("--model", type=Path, default=ROOT / ".models/tiny", help="the model (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="also those that take minutes")
    parser.add_argument("--force", action="store_true", help="make them again even if they are up to date")
    options = parser.parse_args()
    try:
        named = [by_name(name) for name in options.method]
        methods = named or [each for each in METHODS if options.all or not each.slow]
        bring_up_to_date(options.model.absolute(), methods, force=options.force)
    except (NotMade, ValueError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("stopped; what was made before is there")
        sys.exit(130)
