"""What the suites start themselves, each as a child that cannot outlive them: API servers, the box, controllers.

Every child runs under the box's shim: when this process ends, however that comes, so do they. Run as a program, this
module is the box, or the box's API server alone.
"""

import asyncio
import contextlib
import secrets
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import trustme
from cluster_credentials import Credentials
from cluster_http import HttpCluster
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from manta_operator.box.apiserver.server import ApiServer
from manta_operator.box.box import Box, BoxConfig
from manta_operator.box.cluster import ApiError
from manta_operator.box.kubelet import shim

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
START_SECONDS = 90
SERVICES = "10.213.0.0/20"


@contextlib.contextmanager
def child(command, log, **environment):
    """A process under the shim, its words in a file; ended at the end."""
    wrapped = [sys.executable, "-I", "-S", str(shim.__file__), "--", *map(str, command)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            wrapped,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=ROOT,
            start_new_session=True,  # a Ctrl-C is for the tests, which end their children in their own order
            **environment,
        )
    try:
        yield process
    finally:
        process.stdin.close()  # the shim kills what runs under it
        process.wait(30)


def until(what, holds, log, process, seconds=START_SECONDS):
    """Wait until what a child is to do has come true."""
    deadline = time.monotonic() + seconds
    while not holds():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{what}: no; its log ends:\n" + log.read_text()[-3000:])
        time.sleep(0.1)


class KubeApiserver:
    """A kube-apiserver beside an etcd that holds its objects: it can be killed, and started again."""

    def __init__(self, command, log, admin):
        self._command, self._log, self._admin = command, log, admin
        self._child = contextlib.ExitStack()

    def start(self):
        """Start it and wait until it is ready."""
        process = self._child.enter_context(child(self._command, self._log))
        until("kube-apiserver is ready", lambda: _ready(self._admin), self._log, process)

    def kill(self):
        """kill -9; nothing if it does not run."""
        self._child.close()


@contextlib.contextmanager
def envtest(assets, folder):
    """An etcd and a kube-apiserver with certificates of their own, where RBAC decides; (kubeconfig, KubeApiserver)."""
    ports, token = free_ports(3), secrets.token_urlsafe(32)
    etcd_url, peer = f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
    etcd = [assets / "etcd", f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", f"--listen-client-urls={etcd_url}"]
    etcd += [f"--advertise-client-urls={etcd_url}", f"--listen-peer-urls={peer}"]
    etcd += [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
    admin = _pki(folder, ports[2], token)
    command = [assets / "kube-apiserver", f"--etcd-servers={etcd_url}", f"--secure-port={ports[2]}"]
    command += ["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"]
    command += [f"--tls-cert-file={folder / 'server.pem'}", f"--tls-private-key-file={folder / 'server.pem'}"]
    command += ["--authorization-mode=RBAC", f"--token-auth-file={folder / 'tokens.csv'}"]
    command += ["--service-account-issuer=https://kubernetes.default.svc", f"--service-cluster-ip-range={SERVICES}"]
    command += [f"--service-account-key-file={folder / 'accounts.pem'}", "--allow-privileged=true"]
    command += [f"--service-account-signing-key-file={folder / 'accounts.pem'}"]
    server = KubeApiserver(command, folder / "kube-apiserver.log", admin)
    with child(etcd, folder / "etcd.log"):
        try:
            server.start()
            yield admin.write(folder / "kubeconfig"), server
        finally:
            server.kill()


def _pki(folder, port, token):
    """The certificate of the server, the key of ServiceAccount tokens, the administrator's token; the administrator."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "accounts.pem").write_bytes(key.private_bytes(*form))
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    return Credentials(f"https://127.0.0.1:{port}", str(_certificate(folder)), token)


def _certificate(folder):
    """A certificate and its key in server.pem; the file of the authority."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    return folder / "authority.pem"


def _ready(credentials):
    """Whether it says so, and has made what it brings; the latter alone was there before, after a restart."""
    http = HttpCluster(credentials)
    try:
        http.call("GET", "/api/v1/namespaces/kube-system")
        http.call("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin")
        http.text("/readyz")
    except ApiError:
        return False
    return True


def free_ports(count):
    """Ports on loopback that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextlib.contextmanager
def box(folder):
    """A box in a process of its own: API server, controllers, kubelet."""
    log, state = folder / "box.log", folder / "box"
    with child([sys.executable, __file__, state], log) as process:
        until("the box is up", (state / "box.json").exists, log, process)
        yield state / "kubeconfig"


@contextlib.contextmanager
def box_api_server(folder):
    """The box's API server alone, in a process of its own; what it holds is gone when it ends."""
    log, token, port = folder / "apiserver.log", secrets.token_urlsafe(32), free_ports(1)[0]
    admin = Credentials(f"https://127.0.0.1:{port}", str(_certificate(folder)), token)
    with child([sys.executable, __file__, folder, port, token], log) as process:
        until("the box's API server is ready", lambda: _ready(admin), log, process)
        yield admin.write(folder / "kubeconfig")


@contextlib.contextmanager
def controllers(server):
    """The box's controllers beside a server that lacks them."""
    log = server.folder / "controllers.log"
    admin = server.credentials.write(server.folder / "admin-kubeconfig")
    with child([sys.executable, HERE / "cluster_controllers.py", admin, server.run, *server.lacks], log):
        yield


async def _be_box(state):
    running = Box(BoxConfig(state=Path(state)))
    await running.start()
    await running.broken()


async def _be_api_server(folder, port, token):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(Path(folder) / "server.pem")
    addresses = (f"10.0.{high}.{low}" for high in range(256) for low in range(1, 255))  # nobody connects to them
    await ApiServer(token=token, service_addresses=addresses).start("127.0.0.1", int(port), tls)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_be_box(*sys.argv[1:]) if len(sys.argv) == 2 else _be_api_server(*sys.argv[1:]))
