"""Makes the tiny but real Llama that the demo and the end-to-end tests serve: `python tools/tiny_model.py`.

About 3.5 million parameters with a byte-level BPE tokenizer, both trained here on `tinylm/corpus.txt` in about
two minutes on two CPU cores, saved as safetensors for transformers and vLLM. Nothing is downloaded. The folder is
written in one step and remembers what it was made from: a second run returns at once.
"""

import argparse
import fcntl
import hashlib
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STAMP = "manta-tiny-model.json"
SOURCES = Path(__file__).parent / "tinylm"
SAMPLES = ("What is a manta ray?", "Tell me a story about the sea.", "What does a load balancer do?", "Who are you?")


def fingerprint(steps: int) -> str:
    """Hashes everything the model is made from: this script, its parts, the text, the number of steps."""
    digest = hashlib.sha256(f"{steps}\n".encode())
    for path in sorted([Path(__file__), *SOURCES.glob("*.py"), *SOURCES.glob("*.txt")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_fresh(folder: Path, wanted: str) -> bool:
    """Tells whether the folder holds a whole model made from the same inputs."""
    with suppress(OSError, ValueError):
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        return bool(stamp["inputs"] == wanted and all((folder / name).is_file() for name in stamp["files"]))
    return False


@contextmanager
def one_at_a_time(out: Path) -> Iterator[None]:
    """Holds the lock beside the folder, so that two runs do not train the same model twice."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with (out.parent / f".{out.name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another run is making {out}: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def whole_or_nothing(out: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `out` that becomes `out` at the end, or is removed on any failure."""
    temporary = out.with_name(f".{out.name}.part")  # what a killed run left: the lock is ours, so it is nobody's
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(out, ignore_errors=True)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def say(text: str) -> None:
    """Prints one progress line at once, also through a pipe."""
    print(f"tiny model: {text}", flush=True)


def make(folder: Path, steps: int) -> None:
    """Trains the model and writes it into the folder. Loads torch, so it is imported here."""
    import torch  # noqa: PLC0415 - slow; a cached model needs none of it

    from tinylm.corpus import read_corpus, turns  # noqa: PLC0415
    from tinylm.tokenizer import train_tokenizer  # noqa: PLC0415
    from tinylm.training import Recipe, answer, new_model, train  # noqa: PLC0415

    recipe = Recipe(steps=steps)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    corpus = read_corpus(SOURCES / "corpus.txt")
    rng = random.Random(recipe.seed)  # noqa: S311 - reproducible, not secret
    texts = [text for _ in range(5) for turn in turns(corpus, rng) for text in turn]
    tokenizer = train_tokenizer(texts, recipe.vocabulary, recipe.positions)
    model = new_model(recipe, tokenizer)
    say(f"training {model.num_parameters() / 1e6:.1f} M parameters on {sum(map(len, texts)) // 5000} kB of text")

    def progress(step: int, loss: float, left: float) -> None:
        if step % 100 == 0 or step == 10:
            say(f"step {step:4d}/{steps}  loss {loss:.2f}  {left:3.0f} s left")

    loss = train(model, tokenizer, corpus, recipe, progress)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for question in SAMPLES:
        say(f"Q: {question}\n            A: {answer(model, tokenizer, question)}")
    (folder / "model.safetensors").chmod(0o644)  # pods may run as another user
    files = sorted(path.name for path in folder.iterdir())
    stamp = {"inputs": fingerprint(steps), "loss": round(loss, 3), "files": files}
    (folder / STAMP).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Parses the command line, makes the model if the folder does not hold it yet, returns the exit code."""
    parser = argparse.ArgumentParser(description="Make the tiny test model (about two minutes; cached).")
    parser.add_argument("--out", type=Path, default=Path(".models/tiny"), help="folder to write (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=950, help="training steps (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="make it again even if the folder is up to date")
    options = parser.parse_args()
    out = options.out.absolute()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    started = time.monotonic()
    with one_at_a_time(out):
        if not options.force and is_fresh(out, fingerprint(options.steps)):
            say(f"{options.out} is up to date")
            return 0
        with whole_or_nothing(out) as folder:
            make(folder, options.steps)
    say(f"wrote {options.out} in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("stopped; nothing was written")
        sys.exit(130)
