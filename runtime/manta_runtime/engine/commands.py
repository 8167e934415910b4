"""Command lines and environments of the processes the launcher starts: vLLM, Ray. Pure.

Whatever the user set in the pod's environment wins over the defaults here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from manta_runtime.engine import dead_engine, usage_header
from manta_runtime.engine.ranks import engines_per_pod, ray_data_environment, ray_data_flags
from manta_runtime.engine.settings import GROUP_TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manta_runtime.engine.settings import EngineSettings

# The smallest object store Ray accepts; vLLM's tensors do not travel through it.
_RAY_OBJECT_STORE_BYTES = 75 * 1024 * 1024


def vllm_command(settings: EngineSettings) -> list[str]:
    """Return the command line of vLLM (or of its simulator), which runs in the head's pod only."""
    # Not the `vllm` command: in CPU builds it looks up its own distribution under a wrong name and dies.
    server = ["manta_runtime.main", "simulate"] if settings.simulate else ["vllm.entrypoints.openai.api_server"]
    return [
        sys.executable,
        "-m",
        *server,
        f"--host={settings.pod_ip}",
        f"--port={settings.port}",
        *settings.vllm_flags,
        # The launcher and the endpoint picker ask all the time; the log is for people.
        "--disable-access-log-for-endpoints=/health,/metrics,/load",
        # With 0 (vLLM's default) a SIGTERM sent past the launcher would leave clients hanging.
        f"--shutdown-timeout={max(1, int(settings.drain_seconds))}",
        # GET /load: requests that wait for an engine that hangs are counted nowhere else.
        "--enable-server-load-tracking",
        # Whole answers tell the router their tokens in headers.
        f"--middleware={usage_header.MIDDLEWARE}",
        # What a dead engine core leaves unanswered is tried on another replica.
        f"--middleware={dead_engine.MIDDLEWARE}",
        f"--distributed-executor-backend={settings.executor}",
        *(
            ray_data_flags(settings.ranks, settings.accelerators_per_pod, settings.pod_ip)
            if settings.executor == "ray"
            else []
        ),
    ]


def ray_command(settings: EngineSettings, address: str, client_port: int) -> list[str]:
    """Return `ray start` for this pod: a head when `address` is "", else a node that joins it.

    Every port that can be 0 is 0: each Ray process binds a free one itself and publishes it, so that many Ray nodes
    can share a machine. Only the head's Ray client server insists on a number, `client_port`.
    A simulated engine needs no Ray: something that comes up and ends like it will do.
    """
    if settings.simulate:
        cluster = address or f"{settings.pod_ip}:{client_port}"
        return [sys.executable, "-m", "manta_runtime.simulator.rank", str(settings.ray_folder), cluster]
    role = [f"--address={address}"]
    if not address:
        role = [
            "--head",
            "--port=0",
            "--include-dashboard=false",
            "--dashboard-port=0",
            f"--ray-client-server-port={client_port}",
            "--no-monitor",
        ]
    return [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        *role,
        f"--node-ip-address={settings.pod_ip}",
        f"--temp-dir={settings.ray_folder}",
        "--node-manager-port=0",
        "--object-manager-port=0",
        "--dashboard-agent-listen-port=0",
        "--min-worker-port=0",
        "--max-worker-port=0",
        f"--num-gpus={settings.accelerators_per_pod}",
        # Nothing of ours is counted in CPUs but the engines of data ranks, which ask for one each.
        f"--num-cpus={engines_per_pod(settings.ranks, settings.accelerators_per_pod)}",
        f"--object-store-memory={_RAY_OBJECT_STORE_BYTES}",
        "--disable-usage-stats",
        "--block",
    ]


def engine_environment(
    settings: EngineSettings, environ: Mapping[str, str], address: str = "", token: str = ""
) -> dict[str, str]:
    """Return the environment of vLLM and Ray; `address` and `token` are those of the group's Ray, if any."""
    defaults = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONUNBUFFERED": "1",
    }
    if settings.model_is_local:
        defaults["HF_HUB_OFFLINE"] = "1"
    if settings.accelerator == "cpu":
        defaults |= _cpu_defaults(settings, environ)
    if settings.executor == "ray":
        # Idle workers cost 60 MB each and are never used; memory is the kernel's business, per container.
        defaults |= {"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"}
        defaults["RAY_memory_monitor_refresh_ms"] = "0"
        # Ray steps its workers back behind everything else of the machine (nice 15); here they are the engine.
        defaults["RAY_worker_niceness"] = "0"
    result = {**defaults, **environ, "VLLM_HOST_IP": settings.pod_ip}
    result.pop(GROUP_TOKEN, None)
    if settings.executor == "ray":
        result |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        result |= ray_data_environment(settings.ranks, settings.accelerators_per_pod)
        # vLLM's driver reads it; `ray start --head` would take it for a cluster that runs already.
        result.pop("RAY_ADDRESS", None)
        if address:
            result["RAY_ADDRESS"] = address
    if settings.accelerator == "cpu" and (settings.executor == "ray" or settings.ranks.data > 1):
        result["MANTA_CPU_RAY"] = "1"
        # It makes vLLM skip platform plugins, and ours is what lets the CPU platform run under Ray.
        result.pop("VLLM_TARGET_DEVICE", None)
    return result


def _cpu_defaults(settings: EngineSettings, environ: Mapping[str, str]) -> dict[str, str]:
    request = environ.get("MANTA_CPU_REQUEST", "")
    cores = int(request) if request.isdecimal() else 1
    threads = max(1, cores // settings.accelerators_per_pod)  # the ranks of a pod share its cores
    defaults = {"OMP_NUM_THREADS": str(threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    if settings.executor == "uni":
        defaults["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    return defaults
