"""For the tests of `manta-runtime fetch`: models of random bytes, and the command as a process of its own."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NO_PORT = "1"  # taken, forbidden or free: without progress over HTTP a fetch works as well. Who looks gives another


def safetensors(size, seed=0):
    """A file of about `size` bytes with a true header and random content."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + random.Random(seed).randbytes(size)


def model(size=300_000, shards=2):
    """A small repository: what an engine needs, and what it does not."""
    files = {f"model-{n}-of-{shards}.safetensors": safetensors(size, n) for n in range(1, shards + 1)}
    return {
        **files,
        "config.json": b'{"model_type": "llama"}',
        "tokenizer.json": b"{}" * 500,
        "chat_template.jinja": b"{{ messages }}",
        "empty.txt": b"",
        "README.md": b"# words",
        ".gitattributes": b"*.bin lfs",
        "pytorch_model.bin": b"other format" * 100,
        "onnx/model.onnx": b"other engine",
    }


def needed(files):
    """What of `model()` is to be fetched."""
    no = ("README.md", ".gitattributes", "pytorch_model.bin", "onnx/model.onnx")
    return {name: data for name, data in files.items() if name not in no}


def content(folder):
    """The files below a folder, without the list of the fetch."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found.pop(".manta-model.json", None)
    return found


def command(to, uri="hf://org/model", port=NO_PORT, **options):
    """The words of the command."""
    given = {"uri": uri, "to": to, "pod-ip": "127.0.0.1", "control-port": port, "retry-seconds": 20, **options}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    return [sys.executable, "-m", "manta_runtime.main", "fetch", *words]


def environ(**more):
    """An environment without the credentials and proxies of whoever runs the tests."""
    foreign = ("HF_", "AWS_", "GOOGLE_", "HTTP_", "HTTPS_", "http_", "https_", "ALL_", "all_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "PYTHONPATH": str(ROOT / "runtime"), "HF_HUB_OFFLINE": "1", "NO_PROXY": "*", **more}


def env_of(hub, **more):
    """The same, with a FakeHub as the hub."""
    return environ(HF_ENDPOINT=hub.endpoint, **more)


def start_without_locks(to, env, **options):
    """Start the command where flock locks nothing, as on some network file systems."""
    words = command(to, **options)
    lying = "import fcntl; fcntl.flock = lambda *_: None; from manta_runtime.main import main; main()"
    return subprocess.Popen([words[0], "-c", lying, *words[3:]], env=env, stderr=subprocess.PIPE, text=True)


def start(to, env, **options):
    """Start the command; its log goes to a pipe."""
    return subprocess.Popen(command(to, **options), env=env, stderr=subprocess.PIPE, text=True)


def fetch(to, env, timeout=40, **options):
    """Run the command to its end: (exit code, log)."""
    words = command(to, **options)
    done = subprocess.run(words, check=False, env=env, stderr=subprocess.PIPE, text=True, timeout=timeout)
    return done.returncode, done.stderr
