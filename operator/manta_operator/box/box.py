"""One box: API server, controllers, kubelet, names and Service proxy in this event loop, put together and taken down.

    claim a number  ->  state folder  ->  API server  ->  controllers, kubelet, names, proxy  ->  whoever uses the box

The box knows Kubernetes, not Manta: CRDs and the operator are brought by `cli.up_command`.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import ssl
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from manta_operator.box.addresses import AddressesExhausted, AddressPool, BoxClaim, claim_box
from manta_operator.box.apiserver.server import ApiServer
from manta_operator.box.cluster import Cluster
from manta_operator.box.endings import end_tasks
from manta_operator.box.kubelet.backoff import Backoff, BackoffPolicy
from manta_operator.box.kubelet.config import Access, NodeConfig, inherited_env
from manta_operator.box.kubelet.images import ImageResolver
from manta_operator.box.kubelet.kubelet import Kubelet
from manta_operator.box.kubelet.process import Launch, Process
from manta_operator.box.kubelet.reaper import become_subreaper
from manta_operator.box.names import HostsFile
from manta_operator.box.proxy import ServiceProxy
from manta_operator.box.run_folder import make_run_folder, remove_left_behind, run_folder
from manta_operator.box.state import clear, lock, make_folders, read_state, write_kubeconfig, write_state
from manta_operator.box.workloads.controllers import Controllers

NODE = "box"
GRACE_SECONDS = 90.0
_PROGRAM_SECONDS = 5.0  # for what runs beside the pods, once those have ended
_PYSITE = Path(__file__).with_name("pysite")

log = logging.getLogger(__name__)


class BoxError(Exception):
    """The box cannot start or cannot go on; the message says what to do."""


@dataclass(frozen=True)
class BoxConfig:
    """Where a box keeps its state, and where the nodes' folders of manifests are on this machine."""

    state: Path
    host_paths: Mapping[str, Path] = field(default_factory=dict)


class Box:
    """A running box. `start`, use, `stop`; a box is started once."""

    def __init__(self, config: BoxConfig) -> None:
        self._config = config
        self._claim: BoxClaim | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._processes: list[Process] = []
        self._stopping = False
        self._lock: int | None = None
        self._broken = asyncio.Event()
        self._broken_part = ""
        self._kubelet: Kubelet | None = None
        self._server: ApiServer | None = None
        self.kubeconfig = config.state / "kubeconfig"
        self.logs = config.state / "logs"
        self.scratch = config.state / "scratch"

    @property
    def number(self) -> int:
        """Number of the box: its addresses are 127.1.<number>.x."""
        return self._claimed.number

    @property
    def url(self) -> str:
        """Address of the API server."""
        return f"https://{self._claimed.address}:{self._claimed.port}"

    @property
    def cluster(self) -> Cluster:
        """The cluster, in process."""
        if self._server is None:
            raise BoxError("the box has not been started")
        return self._server.cluster

    @property
    def _claimed(self) -> BoxClaim:
        if self._claim is None:
            raise BoxError("the box has not been started")
        return self._claim

    @property
    def _run(self) -> Path:
        return run_folder(self.number)

    async def start(self) -> None:
        """Start everything but the pods; when that fails, what has begun is ended again.

        Raises:
            BoxError: the state folder is in use or cannot be written, or no address is to be had.
        """
        self._prepare_state()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        try:
            self._claim = claim_box()
            make_run_folder(self.number)
            remove_left_behind()
            become_subreaper()
        except (AddressesExhausted, OSError) as error:
            raise BoxError(f"the box cannot start on this machine: {error}") from error
        token = secrets.token_urlsafe(32)
        tls, certificate = _certificate(self._claimed.address)
        write_kubeconfig(self._config.state, self.url, certificate, token)
        services = AddressPool.for_services(self.number)
        server = ApiServer(token=token, service_addresses=services, logs=self)
        self._server = server
        await server.start(self._claimed.address, self._claimed.port, tls, self._claimed.listener)
        self._kubelet = Kubelet(server.cluster, self._node(Access(self.url, certificate, server.token_of)))
        self._background("the controllers", Controllers(server.cluster).run())
        self._background("the names", HostsFile(server.cluster, self._config.state / "hosts").run())
        self._background("the Service proxy", ServiceProxy(server.cluster).run())
        self._background("the kubelet", self._kubelet.run())
        write_state(self._config.state, self.number)

    async def broken(self) -> None:
        """Wait until a part of the box has failed, which none should; then raise BoxError."""
        await self._broken.wait()
        raise BoxError(
            f"{self._broken_part} of the box failed, a bug: its traceback is above; nothing works without, start anew"
        )

    def spawn(self, name: str, command: Sequence[str]) -> None:
        """Run a program beside the pods, with the box's kubeconfig, and start it again whenever it ends."""
        self._background(name, self._keep_running(name, command))

    def hurry(self) -> None:
        """Let nobody drain any longer: every process of the box is killed."""
        self._stopping = True
        for process in self._processes:
            process.kill()
        if self._kubelet is not None:
            self._background("the end of the pods", self._kubelet.stop_all(0))

    async def stop(self) -> None:
        """End the pods with grace, then everything else; only the logs stay."""
        self._stopping = True
        try:
            await self._stop_processes()
            await end_tasks(self._tasks)
            if self._server is not None:
                await self._server.stop()
        finally:
            if self._claim is not None:
                shutil.rmtree(self._run, ignore_errors=True)
                self._claim.listener.close()
            clear(self._config.state)
            if self._lock is not None:
                os.close(self._lock)

    async def _stop_processes(self) -> None:
        for process in self._processes:
            process.terminate()
        if self._kubelet is not None:
            await self._kubelet.stop_all(GRACE_SECONDS)
        for process in tuple(self._processes):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PROGRAM_SECONDS):
                    await process.wait()
            await process.kill_and_wait()

    def log_path(self, namespace: str, pod: str, container: str, previous: bool) -> Path | None:
        """Return where a container writes its log."""
        return self._kubelet.log_path(namespace, pod, container, previous) if self._kubelet else None

    def log_grows(self, namespace: str, pod: str, container: str, path: Path) -> bool:
        """Return whether the run that writes this log goes on."""
        return self._kubelet is not None and self._kubelet.log_grows(namespace, pod, container, path)

    def _prepare_state(self) -> None:
        state = self._config.state
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = lock(state)
            if self._lock is None:
                raise BoxError(_taken(state))
            clear(state)
            make_folders(state)
        except OSError as error:
            raise BoxError(f"the state folder {state} cannot be used: {error.strerror}: {error.filename}") from error

    def _node(self, access: Access) -> NodeConfig:
        state = self._config.state
        return NodeConfig(
            name=NODE,
            address=self._claimed.address,
            state=state,
            run=self._run,
            pod_addresses=AddressPool.for_pods(self.number),
            images=ImageResolver(),
            cluster_env=self._cluster_env() | {"PYTHONPATH": str(_PYSITE), "MANTA_HOSTS": str(state / "hosts")},
            host_paths=self._config.host_paths,
            access=access,
        )

    def _cluster_env(self) -> dict[str, str]:
        return {
            "KUBERNETES_SERVICE_HOST": self._claimed.address,
            "KUBERNETES_SERVICE_PORT": str(self._claimed.port),
        }

    async def _keep_running(self, name: str, command: Sequence[str]) -> None:
        scratch, output = self._run / name, self.logs / f"{name}.log"
        env = inherited_env() | {"KUBECONFIG": str(self.kubeconfig), "TMPDIR": str(scratch), "HOME": str(scratch)}
        backoff, clock = Backoff(BackoffPolicy()), asyncio.get_running_loop().time
        while not self._stopping:
            begun = clock()
            try:
                scratch.mkdir(exist_ok=True)
                process = Process(Launch(secrets.token_hex(16), command, env, Path.cwd(), output, scratch))
                self._processes.append(process)
                why = f"ended with exit code {await process.wait()}"
                self._processes.remove(process)
            except OSError as error:
                why = f"cannot be started ({error})"
            if not self._stopping:
                delay = backoff.after_run(clock() - begun)
                log.error("%s %s and is started again in %.0f s; see %s", name, why, delay, output)
                await asyncio.sleep(delay)

    def _background(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._note_end)
        self._tasks.append(task)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        if error := task.exception():
            log.error("%s of the box failed", task.get_name(), exc_info=error)
        if not self._stopping:
            self._broken_part = task.get_name()
            self._broken.set()


def _taken(state: Path) -> str:
    running = read_state(state)
    if running is None:
        return f"another box is starting or ending in {state}; wait for it, or name another folder with --state"
    return (
        f"box {running.number} (process {running.pid}) runs in {state} already; "
        "`manta down` ends it, --state names another folder, and "
        f"`KUBECONFIG={running.kubeconfig} kubectl apply -f` adds to it"
    )


def _certificate(address: str) -> tuple[ssl.SSLContext, str]:
    """Return a TLS context for the API server and the certificate (PEM) of the CA that signed it; both for this run."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(address).configure_cert(context)
    return context, authority.cert_pem.bytes().decode()
