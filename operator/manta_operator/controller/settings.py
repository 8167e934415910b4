"""The operator's configuration: typed, frozen, parsed once, by the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from manta_operator.api import names
from manta_operator.controller.leader import Terms


@dataclass(frozen=True)
class WebhookSettings:
    """Where the admission webhook is served, and as what.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        name: Of its Service, and of its ValidatingWebhookConfiguration.
        namespace: Of its Service.
        certificates: Folder with tls.crt and tls.key that somebody else renews, who publishes their authority, too;
            None: the operator makes them, and publishes its authority itself.
    """

    host: str
    port: int
    name: str
    namespace: str
    certificates: Path | None = None

    @property
    def server_names(self) -> tuple[str, ...]:
        """What API servers call it, and people who try it."""
        service = f"{self.name}.{self.namespace}.svc"
        return (service, f"{self.name}.{self.namespace}", f"{service}.cluster.local", self.host)


@dataclass(frozen=True)
class Settings:
    """What a running operator needs to know.

    `namespaces` empty means all of them; `resync_seconds` is the longest time between two passes over an object;
    `host_paths` says where this process sees folders of the nodes, so that the fit can read `file://` checkpoints;
    `namespace` is the operator's own: routers let it in from there; `lease` is what it must hold before it acts, None
    if it is the only one; `health` is the address and port of the probes and the metrics, None for no server;
    `catalog` names a user's catalog, a ConfigMap in the operator's namespace, empty for none; `hubs` are those that may
    be asked for what models are, with tokens from Secrets of the deployments if `reads_secrets`; `webhook` is
    where the admission webhook is served, None for none.
    """

    namespaces: tuple[str, ...] = ()
    resync_seconds: float = 600.0
    host_paths: Mapping[str, Path] = field(default_factory=dict)
    namespace: str = names.OPERATOR_NAMESPACE
    lease: Terms | None = None
    health: tuple[str, int] | None = None
    catalog: str = ""
    hubs: tuple[str, ...] = ()
    reads_secrets: bool = False
    webhook: WebhookSettings | None = None
