"""Finds an API server to try the operator on, or starts one, each in processes of its own that can be killed.

In this order: MANTA_TEST_CLUSTER (a kubeconfig of a disposable cluster), KUBEBUILDER_ASSETS (a folder with `etcd` and
`kube-apiserver`), the box's API server otherwise. Run as a program, this module is that last one.
"""

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from unittest import SkipTest

import trustme
from chaos_api import Api, Refused

from manta_operator.box.apiserver.server import ApiServer
from manta_operator.box.kubelet import shim
from manta_operator.box.state import write_kubeconfig

TOKEN = "chaos-token"
START_SECONDS = 60


class Server:
    """An API server without controllers. `name` says which; `kubeconfig` leads to it."""

    name = "?"
    kubeconfig: Path

    async def start(self) -> None:
        """Start it, or nothing where it is given; wait until it is ready."""

    async def stop(self) -> None:
        """End what was started."""


class Given(Server):
    """A cluster somebody named in MANTA_TEST_CLUSTER."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    async def start(self) -> None:
        api = Api(self.kubeconfig)
        try:
            # The controller manager makes it. Its controllers would write over the statuses that are played here.
            controlled = await api.get("/api/v1/namespaces/default/serviceaccounts/default")
        finally:
            await api.close()
        if controlled:
            raise SkipTest(f"{self.kubeconfig}: a controller manager runs there; give an API server without one")
        self.name = f"given cluster, {await version(self.kubeconfig)}"


class Started(Server):
    """Servers started here: a list of commands, run in turn, killed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.ca = trustme.CA()
        self.pair = folder / "server.pem"
        self.pair.write_bytes(self._issued())
        certificate = self.ca.cert_pem.bytes().decode()
        self.kubeconfig = write_kubeconfig(folder, f"https://127.0.0.1:{self.port}", certificate, TOKEN)
        self._running: list[subprocess.Popen[bytes]] = []

    def _issued(self) -> bytes:
        leaf = self.ca.issue_cert("127.0.0.1", "localhost")
        return leaf.private_key_pem.bytes() + b"".join(blob.bytes() for blob in leaf.cert_chain_pems)

    def run(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start one process under the shim, which kills it when this one ends, however that is."""
        guarded = [sys.executable, "-I", "-S", str(shim.__file__), "--", *command]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(guarded, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
        self._running.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """kill -9, and wait until it is gone."""
        process.stdin.close()
        process.wait()
        self._running.remove(process)

    async def stop(self) -> None:
        for process in reversed(self._running.copy()):
            self.kill(process)


class RealServer(Started):
    """etcd and kube-apiserver, nothing else: no controller manager, no scheduler, no kubelet."""

    def __init__(self, folder: Path, assets: Path) -> None:
        super().__init__(folder)
        self._assets = assets
        self._etcd_port, self._peer_port = free_port(), free_port()
        self._api: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        here, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        self.run(
            "etcd", str(self._assets / "etcd"), f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync",
            f"--listen-client-urls={here}", f"--advertise-client-urls={here}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
        )  # fmt: skip
        (self.folder / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        await self.start_api()
        self.name = f"kube-apiserver and etcd from KUBEBUILDER_ASSETS, {await version(self.kubeconfig)}"

    async def start_api(self) -> None:
        """Start kube-apiserver alone (again)."""
        self._api = self.run(
            "apiserver", str(self._assets / "kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={self.port}",
            f"--tls-cert-file={self.pair}", f"--tls-private-key-file={self.pair}",
            f"--cert-dir={self.folder}", f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC", "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.pair}", f"--service-account-signing-key-file={self.pair}",
            "--service-cluster-ip-range=10.0.0.0/16", "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
        )  # fmt: skip
        await ready(self.kubeconfig)

    def kill_api(self) -> None:
        """kill -9 of kube-apiserver; etcd and what it holds stays."""
        self.kill(self._api)


class BoxServer(Started):
    """The box's API server in a process of its own; what it holds is gone when it ends."""

    async def start(self) -> None:
        self.run("apiserver", sys.executable, __file__, str(self.folder), str(self.port))
        await ready(self.kubeconfig)
        self.name = f"the box's API server, {await version(self.kubeconfig)}"


def find(folder: Path) -> Server:
    """The server to use, not started yet; `folder` takes what it writes."""
    if given := os.environ.get("MANTA_TEST_CLUSTER"):
        return Given(Path(given))
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        return RealServer(folder, Path(assets))
    return BoxServer(folder)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def ready(kubeconfig: Path) -> None:
    """Wait until the server says that it is ready."""
    api, deadline = Api(kubeconfig), time.monotonic() + START_SECONDS
    try:
        while True:
            try:
                await api.call("GET", "/readyz")
            except (OSError, Refused) as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{kubeconfig}: not ready after {START_SECONDS} s: {error}") from error
                await asyncio.sleep(0.1)
            else:
                return
    finally:
        await api.close()


async def version(kubeconfig: Path) -> str:
    """What the server calls itself."""
    api = Api(kubeconfig)
    try:
        return str((await api.call("GET", "/version"))["gitVersion"])
    finally:
        await api.close()


async def serve(folder: Path, port: int) -> None:
    """Be the box's API server until killed."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "server.pem")
    addresses = (f"10.0.{high}.{low}" for high in range(256) for low in range(1, 255))  # nobody connects to them
    server = ApiServer(token=TOKEN, service_addresses=addresses)
    await server.start("127.0.0.1", port, tls)
    await asyncio.Event().wait()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
