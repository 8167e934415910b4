"""Who a pod is for the API server: its ServiceAccount, by a token, in a kubeconfig of its own.

Without mount namespaces there is no /var/run/secrets/kubernetes.io: containers get KUBECONFIG instead.
"""

from pathlib import Path

from manta_operator.box.cluster import ApiError, Object
from manta_operator.box.kubelet.config import NodeConfig, StartError
from manta_operator.box.state import write_kubeconfig


def write_credentials(config: NodeConfig, pod: Object, folder: Path) -> None:
    """Write `kubeconfig` for a pod that may have a token; StartError while its ServiceAccount is missing."""
    if config.access is None or pod["spec"].get("automountServiceAccountToken") is False:
        return
    token = account_token(config, pod)
    folder.mkdir(parents=True, exist_ok=True)
    write_kubeconfig(folder, config.access.url, config.access.certificate, token, pod["metadata"]["namespace"])


def credentials_env(folder: Path) -> dict[str, str]:
    """Return the variable that names what `write_credentials` has written, if it has."""
    file = folder / "kubeconfig"
    return {"KUBECONFIG": str(file)} if file.exists() else {}


def account_token(config: NodeConfig, pod: Object) -> str:
    """Return a token of the pod's ServiceAccount; StartError while that is missing."""
    namespace, account = pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName") or "default"
    if config.access is None:
        raise StartError("FailedMount", "this node was not told how to reach the API server")
    try:
        return config.access.token(namespace, account)
    except ApiError as error:
        message = f"ServiceAccount {namespace}/{account}: {error.message}: create it, the pod then goes on by itself"
        raise StartError("FailedMount", message) from error
