"""The cases of the CRD's contract tests, put to the API server of this run."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import real_server

from manta_operator.box.cluster import ApiError

ROOT = Path(__file__).parents[3]
CASES = ("rules", "bounds", "patterns", "defaults")


def test_the_server_keeps_the_rules_of_the_crd(server):
    """Every CEL rule, enum, bound, pattern and default of the CRD is kept: accepted, refused, filled in."""
    user = server.credentials
    told = {"URL": user.url, "TOKEN": user.token, "CERT": user.certificate, "KEY": user.key}
    names = {f"MANTA_CONFORMANCE_{name}": value for name, value in told.items() if value}
    files = [f"tests/contract/test_crd_{case}.py" for case in CASES]
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", *files]
    try:
        done = subprocess.run(command, cwd=ROOT, env=os.environ | names, capture_output=True, text=True, check=False)
    finally:
        with contextlib.suppress(ApiError):
            server.cluster.delete("Namespace", None, real_server.NAMESPACE)
    assert done.returncode == 0, done.stdout[-3000:]
