"""The operator as the suite runs it: a process beside the tests, a ServiceAccount with exactly the chart's rights."""

import json
import os
import signal
import sys
import time

from cluster_rights import grant
from cluster_started import ROOT, child

from manta_operator.box.kubelet.config import inherited_env

MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "max_position_embeddings": 2048,
}
ACCOUNT = "manta-operator"


class Operator:
    """One operator for some namespaces. `start`, `kill`, `stop`; it may be started again."""

    def __init__(self, server, home, spaces, name="operator", extra=()):
        """`home` is the namespace of its account, `spaces` are those that it watches."""
        self._server, self.home, self.spaces, self._extra = server, home, tuple(spaces), tuple(extra)
        self._folder = server.folder / f"{home}-{name}"
        self._folder.mkdir()
        self._process = None
        self.log_file = self._folder / "log"
        self.identity = None
        self.program = ("-m", "manta_operator.cli")
        models = server.folder / "tiny"
        if not models.exists():  # never while another operator reads it
            models.mkdir()
            (models / "config.json").write_text(json.dumps(MODEL))

    def start(self):
        """Start the process, with the rights of the chart unless they are given already."""
        if self.identity is None:
            self.identity = grant(self._server, self.home, self.spaces, ACCOUNT)
        kubeconfig = self._server.credentials.of(self.identity).write(self._folder / "kubeconfig")
        command = [sys.executable, *self.program, "operator", f"--map=/models={self._server.folder}"]
        command += [f"--namespace={space}" for space in self.spaces]
        env = inherited_env(os.environ) | {"KUBECONFIG": str(kubeconfig), "TMPDIR": str(self._folder)}
        env |= {"PYTHONPATH": str(ROOT / "operator"), "HOME": str(self._folder), "POD_NAMESPACE": self.home}
        self._process = child([*command, *self._extra], self.log_file, env=env)
        self._shim = self._process.__enter__()
        return self

    @property
    def runs(self):
        """Whether it lives."""
        return self._process is not None and self._shim.poll() is None

    @property
    def log(self):
        """What it has said so far."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def end(self, seconds=30):
        """SIGTERM, as a kubelet sends it; the exit code and the seconds it took."""
        began = time.monotonic()
        self._shim.send_signal(signal.SIGTERM)
        code = self._shim.wait(seconds)
        took = time.monotonic() - began
        self.kill()
        return code, took

    def kill(self):
        """kill -9; nothing if it does not run."""
        if self._process is not None:
            self._process.__exit__(None, None, None)
            self._process = None
