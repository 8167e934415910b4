"""What all containers of a pod share: its address, folders and volumes, and the way to start a process in it.

`pod_worker.py` makes one per pod; `container.py` asks it for launches.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import aiohttp

from manta_operator.box.cluster import Cluster, Object
from manta_operator.box.kubelet.account import credentials_env
from manta_operator.box.kubelet.config import NodeConfig, StartError, inherited_env
from manta_operator.box.kubelet.env import container_env
from manta_operator.box.kubelet.events import EventRecorder
from manta_operator.box.kubelet.expand import expand
from manta_operator.box.kubelet.images import ImageError
from manta_operator.box.kubelet.paths import MOUNTS, rewrite
from manta_operator.box.kubelet.process import Launch
from manta_operator.box.kubelet.projections import VolumeError
from manta_operator.box.kubelet.service_env import service_env
from manta_operator.box.kubelet.volumes import mount_table

_scratch_numbers = count(1)


@dataclass
class Sandbox:
    """`pod` is the newest known body; `volumes` is filled before containers start."""

    cluster: Cluster
    config: NodeConfig
    events: EventRecorder
    http: aiohttp.ClientSession
    pod: Object
    address: str = ""
    volumes: dict[str, Path] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The pod's own folder."""
        return self.config.state / "pods" / str(self.pod["metadata"]["uid"])

    @property
    def logs(self) -> Path:
        """Folder of the pod's logs, which outlive it: <container>/<restart>.log."""
        metadata = self.pod["metadata"]
        return self.config.state / "logs" / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid'][:8]}"

    @property
    def body(self) -> Object:
        """The pod with its addresses, for field references."""
        known = {"podIP": self.address, "hostIP": self.config.address}
        return {**self.pod, "status": {**(self.pod.get("status") or {}), **known}}

    def container(self, name: str) -> Object:
        """Newest spec of a container, by name."""
        spec = self.pod["spec"]
        both = [*(spec.get("initContainers") or ()), *spec["containers"]]
        return next(c for c in both if c["name"] == name)

    def launch(self, name: str, output: Path) -> Launch:
        """How to start container `name`, logging to `output`. StartError says why it cannot be started now."""
        container = self.container(name)
        try:
            mounts = mount_table(container, self.volumes)
        except VolumeError as error:
            raise StartError("CreateContainerConfigError", str(error)) from error
        scratch = self.config.run / str(next(_scratch_numbers))
        env = self._env(container, mounts, scratch)
        command = [_final(part, env, mounts) for part in container.get("command") or ()]
        arguments = [_final(part, env, mounts) for part in container.get("args") or ()]
        try:
            program = self.config.images.resolve(container.get("image") or "", command, env["PATH"])
        except ImageError as error:
            raise StartError(error.reason, error.message) from error
        cwd = self._working_folder(container, mounts)
        for folder in (scratch, output.parent, Path(env["HOME"])):
            folder.mkdir(parents=True, exist_ok=True)
        command_line = [program, *command[1:], *arguments]
        return Launch(secrets.token_hex(16), command_line, env, cwd, output, scratch)

    def exec_launch(self, name: str, base: Launch, command: Sequence[str]) -> Launch:
        """How to run a probe's or hook's command beside the running container that `base` started."""
        mounts = mount_table(self.container(name), self.volumes)
        rewritten = [rewrite(part, mounts) for part in command]
        # Scratch belongs to the container's own shim, which removes it.
        output = self.folder / f"exec-{secrets.token_hex(4)}"
        return replace(base, id=secrets.token_hex(16), command=rewritten, output=output, scratch=None)

    def _env(self, container: Object, mounts: Mapping[str, str], scratch: Path) -> dict[str, str]:
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        # Absent from a pod that no API server defaulted, it means true.
        linked = spec.get("enableServiceLinks") is not False
        services = self.cluster.list("Service", metadata["namespace"]) if linked else []
        given = {
            **service_env(services),
            **inherited_env(),
            **self.config.cluster_env,
            **credentials_env(self.folder),
            "HOSTNAME": str(spec.get("hostname") or metadata["name"]),
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(scratch),
            MOUNTS: json.dumps(mounts),
        }
        given["PATH"] = self.config.images.search_path(given.get("PATH", ""))
        return {**given, **container_env(self.cluster, self.body, container, given, mounts)}

    def _working_folder(self, container: Object, mounts: Mapping[str, str]) -> Path:
        wanted = container.get("workingDir")
        if not wanted:
            home = self.folder / "home"
            home.mkdir(parents=True, exist_ok=True)
            return home
        folder = Path(rewrite(wanted, mounts))
        if not folder.is_dir():
            message = f"workingDir {wanted} does not exist on this machine: create it, or mount a volume there"
            raise StartError("CreateContainerError", message)
        return folder


def _final(text: str, env: Mapping[str, str], mounts: Mapping[str, str]) -> str:
    """Rewritten, then expanded: the values in `env` are rewritten already and must not be so twice."""
    return expand(rewrite(text, mounts), env)
