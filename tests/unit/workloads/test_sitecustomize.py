"""The name hook in real Python processes: what it resolves, what it leaves alone."""
# ruff: noqa: E501

import os
import subprocess
import sys
from pathlib import Path

import pytest

import manta_operator.box

PYSITE = Path(manta_operator.box.__file__).parent / "pysite"


def run(code, hosts, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.chained = True\n")
    path = os.pathsep.join([str(PYSITE), str(tmp_path)])
    env = {"PYTHONPATH": path, "MANTA_HOSTS": str(hosts), "POD_NAMESPACE": "d"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import socket; print(socket.getaddrinfo('v', 80)[0][4])", "('127.2.1.1', 80)"),
        ("import socket; print(socket.gethostbyname('v.d.svc.cluster.local'))", "127.2.1.1"),
        ("import socket; print(socket.gethostbyname('127.0.0.5'))", "127.0.0.5"),
        ("import sys; print('socket' in sys.modules, sys.chained)", "False True"),
        (
            "import asyncio\nasync def f():\n r = await asyncio.get_running_loop().getaddrinfo('v.d', 80)\n"
            " print(r[0][4][0])\nasyncio.run(f())",
            "127.2.1.1",
        ),
        (
            "import os, socket; socket.gethostbyname('v')\nopen(os.environ['MANTA_HOSTS'], 'w').write('127.2.1.99 v.d')\n"
            "print(socket.gethostbyname('v'))",
            "127.2.1.99",
        ),
    ],
)
def test_names(tmp_path, code, expected):
    hosts = tmp_path / "hosts"
    hosts.write_text("127.2.1.1 v.d v.d.svc v.d.svc.cluster.local\n")
    assert run(code, hosts, tmp_path) == expected
