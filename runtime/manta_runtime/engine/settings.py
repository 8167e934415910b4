"""What an engine launcher was told: parsed once from the command line, checked, frozen.

First in the flow: command.py parses → this module checks → head.py or worker.py act on it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from manta_runtime.engine.ranks import Ranks, problem_of_engines, read_ranks
from manta_runtime.engine.vllm_flags import find_flag, has_flag, hide_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manta_runtime.engine.log_lines import LogFormat

Executor = Literal["uni", "mp", "ray"]
Accelerator = Literal["cpu", "gpu"]

GROUP_TOKEN = "GROUP_TOKEN"  # noqa: S105 - a name, not a secret
"""Environment variable with the secret that the pods of one deployment share."""

ENGINE = "MANTA_ENGINE"
"""Environment variable; `simulate` starts the engine simulator in vLLM's and Ray's place, for load tests."""

LOG = "MANTA_LOG"
"""Environment variable; `json` or `text`: the form of the log. Without it JSON into a pipe, text elsewhere."""

STATE = "MANTA_STATE"
"""Environment variable with a folder that outlives the container (an emptyDir), so that restarts can be counted."""

OWN_FLAGS = (
    "--host",
    "--port",
    "--distributed-executor-backend",
    "--shutdown-timeout",
    "--headless",
    "--nnodes",
    "--node-rank",
    "--master-addr",
    "--master-port",
    "--data-parallel-address",
    "--data-parallel-backend",
    "--data-parallel-external-lb",
    "--data-parallel-hybrid-lb",
    "--data-parallel-multi-port-external-lb",
    "--data-parallel-rank",
    "--data-parallel-rpc-port",
    "--data-parallel-size-local",
    "--data-parallel-start-rank",
)
"""vLLM flags that are the launcher's business: it refuses them after `--`."""

# Ray puts `session_<date>_<time>_<microseconds>_<pid>/sockets/plasma_store` under its folder, and the path of a Unix
# socket is limited to 107 bytes.
_LONGEST_RAY_FOLDER = 107 - len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.12")


class SettingsError(ValueError):
    """The launcher was called with something it cannot work with; the message says what to do."""


@dataclass(frozen=True)
class EngineSettings:
    """The arguments of `manta-runtime engine`; durations in seconds, `vllm_flags` as given after `--`.

    `simulate`: the engine simulator stands in for vLLM and Ray. `state_folder` outlives the
    container; None: nothing does. `adapters`: the file with the list of adapters; None: there is none.
    `complete_hf_overrides`: they are the operator's, who may not see the checkpoint (rope.py); a user's own are vLLM's
    business. `mounts`: where paths in files really are (adapters_list.py).
    """

    rank: int
    group_size: int
    pod_ip: str
    pod_name: str
    head: str
    port: int
    control_port: int
    executor: Executor
    accelerator: Accelerator
    accelerators_per_pod: int
    startup_seconds: float
    drain_seconds: float
    scratch: Path
    vllm_flags: tuple[str, ...]
    group_token: str = field(default="", repr=False)
    simulate: bool = False
    hang_seconds: float = 300.0
    log_format: LogFormat = "text"
    state_folder: Path | None = None
    adapters: Path | None = None
    complete_hf_overrides: bool = False
    mounts: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown_flags(self) -> tuple[str, ...]:
        """The flags for the log, without the keys of vLLM's clients."""
        return hide_values(self.vllm_flags, "--api-key")

    @property
    def engine_name(self) -> str:
        """What to call the engine in the log."""
        return "the engine SIMULATOR, which makes its answers up" if self.simulate else "vLLM"

    @property
    def is_head(self) -> bool:
        """Whether this pod is rank 0, the one that answers requests."""
        return self.rank == 0

    @property
    def ranks(self) -> Ranks:
        """How the replica is cut. Raises ValueError before `check_settings` has passed."""
        return read_ranks(self.vllm_flags)

    @property
    def model(self) -> str:
        """The value of vLLM's --model: a folder or a hub name."""
        return find_flag(self.vllm_flags, "--model") or ""

    @property
    def model_is_local(self) -> bool:
        """Whether the model is a path in this pod, so that nothing has to be fetched from a hub."""
        return self.model.startswith(("/", "./", "../", "~"))

    @property
    def served_name(self) -> str:
        """The first name vLLM serves the model under."""
        return find_flag(self.vllm_flags, "--served-model-name") or self.model

    def api_key(self, environ: Mapping[str, str]) -> str:
        """Return the key vLLM asks its clients for, "" for none."""
        return find_flag(self.vllm_flags, "--api-key") or environ.get("VLLM_API_KEY", "")

    @property
    def ray_folder(self) -> Path:
        """Ray's temporary folder."""
        return self.scratch / "ray"


def check_settings(settings: EngineSettings) -> None:
    """Raise SettingsError naming the first thing that cannot work and the remedy; touches no file."""
    for problem in (
        _problem_of_place(settings),
        _problem_of_flags(settings),
        _problem_of_shape(settings),
        _problem_of_folder(settings),
    ):
        if problem:
            raise SettingsError(problem)


def check_group_token(settings: EngineSettings) -> None:
    """Raise SettingsError when the ranks of this group could not prove to each other that they belong to it."""
    if settings.group_size > 1 and not settings.group_token:
        raise SettingsError(
            f"environment variable {GROUP_TOKEN} is empty: a group of {settings.group_size} pods needs the shared "
            "secret that its ranks join with. Set it from key `token` of the Secret <deployment>-group."
        )


def check_model(settings: EngineSettings) -> None:
    """Raise SettingsError when the model is a local path that holds no model. Reads the file system."""
    if not settings.model_is_local:
        return
    path = Path(settings.model).expanduser()
    if not path.exists():
        raise SettingsError(
            f"--model={settings.model}: no such file or folder in this pod. Check spec.model.uri, "
            "and that the volume it names is mounted and holds the model."
        )
    if path.is_dir() and not any((path / name).exists() for name in ("config.json", "params.json")):
        raise SettingsError(
            f"--model={settings.model}: the folder has no config.json, so it is not a model. "
            "Point spec.model.uri at the folder that holds config.json and the weights."
        )


def _problem_of_place(settings: EngineSettings) -> str:
    if not 0 <= settings.rank < settings.group_size:
        return (
            f"--rank={settings.rank} is not a rank of a group of {settings.group_size}: it must be 0 to "
            f"{settings.group_size - 1}. Check --group-size and the pod's label apps.kubernetes.io/pod-index."
        )
    try:
        address = ipaddress.ip_address(settings.pod_ip)
    except ValueError:
        return f"--pod-ip={settings.pod_ip!r} is not an IP address. Set it from the field status.podIP."
    if address.is_unspecified:
        return f"--pod-ip={settings.pod_ip} means every interface; give the pod's own address."
    if settings.port == settings.control_port:
        return f"--port and --control-port are both {settings.port}; give them different ports."
    if settings.group_size > 1 and not settings.head:
        return "--head is empty: a group of several pods needs the DNS name of its pod 0."
    return ""


def _problem_of_flags(settings: EngineSettings) -> str:
    if not settings.model:
        return "no --model among the vLLM flags: put it after `--`, e.g. `-- --model=/models/tiny`."
    for flag in OWN_FLAGS:
        if has_flag(settings.vllm_flags, flag):
            return f"{flag} after `--` is set by the launcher itself: leave it out (see spec.engine.args)."
    return ""


def _problem_of_shape(settings: EngineSettings) -> str:
    try:
        ranks = settings.ranks
    except ValueError as error:
        return str(error)
    room = settings.group_size * settings.accelerators_per_pod
    if settings.executor == "uni" and (settings.group_size > 1 or ranks.total > 1):
        return f"--executor=uni runs one rank in one pod, not {ranks.total} in {settings.group_size}: use mp or ray."
    if settings.executor == "mp" and settings.group_size > 1:
        return f"--executor=mp works within one pod, and the group has {settings.group_size}: use --executor=ray."
    if ranks.total != room:
        return (
            f"{ranks} needs {ranks.total} accelerators, but the group has {room} "
            f"({settings.group_size} pods with {settings.accelerators_per_pod}): make both numbers equal."
        )
    return problem_of_engines(ranks, settings.accelerators_per_pod)


def _problem_of_folder(settings: EngineSettings) -> str:
    length = len(str(settings.ray_folder))
    if settings.executor == "ray" and length > _LONGEST_RAY_FOLDER:
        return (
            f"Ray's folder {settings.ray_folder} is {length} characters long; Unix sockets allow "
            f"{_LONGEST_RAY_FOLDER}. Set TMPDIR to a shorter path."
        )
    return ""
