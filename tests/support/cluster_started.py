"""What the suite starts itself, each as a child that cannot outlive it: etcd and kube-apiserver, the box, controllers.

Every child runs under the box's shim: when this process ends, however that comes, so do they.
"""

import asyncio
import contextlib
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

import trustme
from cluster_credentials import Credentials
from cluster_http import HttpCluster
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

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
            wrapped, stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=ROOT, **environment
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


@contextlib.contextmanager
def envtest(assets, folder):
    """An etcd and a kube-apiserver with certificates of their own; RBAC decides what may be done."""
    log, token = folder / "kube-apiserver.log", secrets.token_urlsafe(32)
    ports = _free_ports(3)
    etcd_url, peer = f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
    etcd = [assets / "etcd", f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", f"--listen-client-urls={etcd_url}"]
    etcd += [f"--advertise-client-urls={etcd_url}", f"--listen-peer-urls={peer}"]
    etcd += [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
    authority = _pki(folder, token)
    server = [assets / "kube-apiserver", f"--etcd-servers={etcd_url}", f"--secure-port={ports[2]}"]
    server += ["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"]
    server += [f"--tls-cert-file={folder / 'server.pem'}", f"--tls-private-key-file={folder / 'server-key.pem'}"]
    server += ["--authorization-mode=RBAC", f"--token-auth-file={folder / 'tokens.csv'}"]
    server += ["--service-account-issuer=https://kubernetes.default.svc", f"--service-cluster-ip-range={SERVICES}"]
    server += [f"--service-account-key-file={folder / 'accounts.pem'}", "--allow-privileged=true"]
    server += [f"--service-account-signing-key-file={folder / 'accounts.pem'}"]
    admin = Credentials(f"https://127.0.0.1:{ports[2]}", str(authority), token)
    with child(etcd, folder / "etcd.log"), child(server, log) as process:
        until("kube-apiserver is ready", lambda: _ready(admin), log, process)
        yield admin.write(folder / "kubeconfig")


def _pki(folder, token):
    """The certificate of the server, the key of ServiceAccount tokens, the administrator's token; the authority."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
    certificate.private_key_pem.write_to_path(folder / "server-key.pem")
    for index, part in enumerate(certificate.cert_chain_pems):
        part.write_to_path(folder / "server.pem", append=index > 0)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "accounts.pem").write_bytes(key.private_bytes(*form))
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    authority.cert_pem.write_to_path(folder / "authority.pem")
    return folder / "authority.pem"


def _ready(credentials):
    http = HttpCluster(credentials)
    try:
        http.call("GET", "/api/v1/namespaces/kube-system")
        http.call("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin")
    except ApiError:
        return False
    return True


def _free_ports(count):
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
def controllers(server):
    """The box's controllers beside a server that lacks them."""
    log = server.folder / "controllers.log"
    admin = server.credentials.write(server.folder / "admin-kubeconfig")
    with child([sys.executable, HERE / "cluster_controllers.py", admin, server.run, *server.lacks], log):
        yield


async def _serve(state):
    running = Box(BoxConfig(state=Path(state)))
    await running.start()
    await running.broken()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
