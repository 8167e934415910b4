"""The little of the Kubernetes API that the traffic test needs, over HTTPS with a kubeconfig; nothing of Manta's."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

Object = dict[str, Any]

PATHS = {
    "LLMDeployment": "apis/manta.dev/v1alpha1/namespaces/default/llmdeployments",
    "Deployment": "apis/apps/v1/namespaces/default/deployments",
    "Event": "api/v1/namespaces/default/events",
    "Pod": "api/v1/namespaces/default/pods",
    "Secret": "api/v1/namespaces/default/secrets",
    "Service": "api/v1/namespaces/default/services",
    "StatefulSet": "apis/apps/v1/namespaces/default/statefulsets",
}


class Api:
    """One API server, namespace default."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        headers = {"Authorization": f"Bearer {document['users'][0]['user']['token']}"}
        self._session = aiohttp.ClientSession(
            cluster["server"] + "/", headers=headers, connector=aiohttp.TCPConnector(ssl=tls), raise_for_status=True
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def find(self, kind: str, name: str) -> Object | None:
        """Return one object, None if there is none. Raises aiohttp.ClientError, like all others."""
        async with self._session.get(f"{PATHS[kind]}/{name}", raise_for_status=False) as response:
            if response.status == 404:
                return None
            response.raise_for_status()
            found: Object = await response.json()
            return found

    async def list(self, kind: str, selector: str = "") -> list[Object]:
        """Return the objects of a kind."""
        async with self._session.get(PATHS[kind], params={"labelSelector": selector}) as response:
            items: list[Object] = (await response.json())["items"]
            return items

    async def watch(self, kind: str, selector: str = "") -> AsyncIterator[tuple[str, Object]]:
        """Yield (type, object) of what is there (ADDED) and of every change, until the server ends it."""
        query = {"watch": "true", "labelSelector": selector}
        timeout, rest = aiohttp.ClientTimeout(total=None), b""
        async with self._session.get(PATHS[kind], params=query, timeout=timeout) as response:
            async for part in response.content.iter_any():  # lines may be longer than aiohttp reads them
                *lines, rest = (rest + part).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    yield event["type"], event["object"]

    async def create(self, kind: str, body: Object) -> None:
        """Create one object."""
        async with self._session.post(PATHS[kind], json=body):
            pass

    async def patch(self, kind: str, name: str, change: Object) -> None:
        """Merge-patch one object."""
        headers = {"Content-Type": "application/merge-patch+json"}
        async with self._session.patch(f"{PATHS[kind]}/{name}", json=change, headers=headers):
            pass

    async def delete(self, kind: str, name: str) -> None:
        """Delete one object, with grace."""
        async with self._session.delete(f"{PATHS[kind]}/{name}"):
            pass
