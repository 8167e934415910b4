"""What the kubelet is told once, at start, and the errors that keep a container from starting."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from manta_operator.box.addresses import AddressPool
from manta_operator.box.kubelet.backoff import BackoffPolicy
from manta_operator.box.kubelet.images import ImageResolver


@dataclass(frozen=True)
class Timing:
    """Time constants, so that tests need not wait."""

    second: float = 1.0
    """How long a second written in a pod (probe periods, grace periods) lasts."""
    retry: float = 2.0
    """Seconds between attempts at what cannot be done yet: a missing ConfigMap, a missing host folder."""


@dataclass(frozen=True)
class Access:
    """How pods come to the API server: its URL, its CA's certificate (PEM), and tokens."""

    url: str
    certificate: str
    token: Callable[[str, str], str]
    """Gives a token of a ServiceAccount (namespace, name); ApiError if there is none."""


@dataclass(frozen=True)
class NodeConfig:
    """One node. `run` must be short: processes put Unix sockets there, whose paths end at 107 bytes."""

    name: str
    address: str
    state: Path
    run: Path
    pod_addresses: AddressPool
    images: ImageResolver
    cluster_env: Mapping[str, str] = field(default_factory=dict)
    """Given to every container, after the inherited variables and before the pod's own."""
    host_paths: Mapping[str, Path] = field(default_factory=dict)
    """hostPath prefix in manifests → folder of this machine (`manta up --map`)."""
    access: Access | None = None
    """For the pods' ServiceAccounts; without it, pods have no credentials."""
    backoff: BackoffPolicy = field(default_factory=BackoffPolicy)
    timing: Timing = field(default_factory=Timing)


class StartError(Exception):
    """A container cannot start now: `reason` is shown in its waiting state, `message` says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


_INHERITED = ("PATH", "LANG", "LANGUAGE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH")
_INHERITED_PREFIXES = ("LC_", "CUDA_", "NVIDIA_")


def inherited_env(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The few variables of `manta up` that containers see: an image would bring these. No proxies, no HOME."""
    return {
        name: value for name, value in environ.items() if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }
