"""The Secret by which the pods of a group know each other: made here, never read, so no Secret need be readable.

Builders are pure, so the randomness lives here. Whether the Secret is there only its name can tell, by refusing a
second one; whether it is gone the pods tell, which do not start without it.
"""

import re
import secrets

from manta_operator.api import names
from manta_operator.api.models import LLMDeployment
from manta_operator.builders.access import group_secret
from manta_operator.controller.client import KubeClient
from manta_operator.controller.store import Store
from manta_operator.planning.observe import Observed

_MISSING = r'CreateContainerConfigError: .*\b(?:secret "{name}" not found|Secret \S+/{name} does not exist)'
"""In the words of the kubelet, and of the box's."""


class Tokens:
    """Makes the Secrets."""

    def __init__(self, client: KubeClient, store: Store) -> None:
        self._client, self._store = client, store

    async def make(self, deployment: LLMDeployment) -> None:
        """Make up the token of the groups, unless a Secret of its name exists. Raises ClusterError.

        Its second owner is the Service of the groups, which `--cascade=orphan` leaves behind and a successor adopts: so
        the Secret stays for those who still run by it, and goes with the successor, although nobody ever adopts it.
        """
        obj = group_secret(deployment, secrets.token_urlsafe(32))
        name = names.group_service_name(deployment.name)
        service = self._store.find("Service", deployment.namespace, name)
        if service is not None:
            owner = {"apiVersion": "v1", "kind": "Service", "name": name, "uid": service.uid}
            obj["metadata"]["ownerReferences"].append(owner)
        await self._client.create(obj)


def reported_missing(deployment: LLMDeployment, observed: Observed) -> bool:
    """Say whether a pod does not start because the Secret is not there."""
    said = re.compile(_MISSING.format(name=re.escape(names.group_secret_name(deployment.name))))
    return any(pod.problem and said.search(pod.problem) for pod in observed.pods)
