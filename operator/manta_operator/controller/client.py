"""The operator's only way to the API server: plain dicts in and out, every failure a ClusterError.

A thin edge over the async dynamic client of the `kubernetes` package, which knows paths, discovery and credentials.
"""

import json
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import client as kube
from kubernetes.aio import config as kube_config
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import ResourceNotFoundError

from manta_operator.api import names
from manta_operator.controller.errors import ClusterError, Missing, NotOwned, classify

Object = dict[str, Any]
TIMEOUT_SECONDS = 30


class KubeClient:
    """Reads, applies and deletes objects of any kind, named by apiVersion and kind."""

    def __init__(self, api: Any, dynamic: Any) -> None:
        self._api = api
        self._dynamic = dynamic

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Object | None:
        """Read one object; None if there is none. Raises ClusterError."""
        what = f"get {kind} {namespace}/{name}"
        resource = await self._resource(api_version, kind, what)
        try:
            return await _answer(
                self._dynamic.get(
                    resource, name=name, namespace=namespace, serialize=False, _request_timeout=TIMEOUT_SECONDS
                ),
                what,
            )
        except Missing:
            return None

    async def list(
        self, api_version: str, kind: str, namespace: str | None = None, selector: str | None = None
    ) -> list[Object]:
        """List the objects of a kind, in one namespace or in all, by label selector. Raises ClusterError."""
        what = f"list {kind} in {namespace or 'all namespaces'}"
        resource = await self._resource(api_version, kind, what)
        listed = await _answer(
            self._dynamic.get(
                resource,
                namespace=namespace,
                label_selector=selector,
                serialize=False,
                _request_timeout=TIMEOUT_SECONDS,
            ),
            what,
        )
        return [{"apiVersion": api_version, "kind": kind} | item for item in listed.get("items") or []]

    async def apply(self, obj: Object, subresource: str | None = None, manager: str = names.FIELD_MANAGER) -> Object:
        """Server-side apply; conflicts are won, since every field we send is ours.

        Args:
            obj: What `manager` wants; fields it applied before and no longer names are removed.
            subresource: "status", or the object itself.
            manager: The field manager: the operator's own, unless a person applies through the command line.

        Raises:
            ClusterError: the API server refused or did not answer.
        """
        metadata = obj["metadata"]
        what = f"apply {obj['kind']} {metadata['namespace']}/{metadata['name']}"
        resource = await self._resource(obj["apiVersion"], obj["kind"], what)
        target = resource.subresources[subresource] if subresource else resource
        return await _answer(
            self._dynamic.server_side_apply(
                target,
                body=obj,
                name=metadata["name"],
                namespace=metadata["namespace"],
                field_manager=manager,
                force_conflicts="true",
                serialize=False,
                _request_timeout=TIMEOUT_SECONDS,
            ),
            what,
        )

    async def merge(self, obj: Object) -> Object:
        """Merge-patch an object of ours, lists replaced whole: what apply cannot repair. Raises ClusterError."""
        metadata = obj["metadata"]
        what = f"repair {obj['kind']} {metadata['namespace']}/{metadata['name']}"
        resource = await self._resource(obj["apiVersion"], obj["kind"], what)
        return await _answer(
            self._dynamic.patch(
                resource,
                body=obj,
                name=metadata["name"],
                namespace=metadata["namespace"],
                content_type="application/merge-patch+json",
                field_manager=names.FIELD_MANAGER,
                serialize=False,
                _request_timeout=TIMEOUT_SECONDS,
            ),
            what,
        )

    async def delete(self, api_version: str, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete the object with this uid and its dependents; gone already is fine. Raises ClusterError."""
        what = f"delete {kind} {namespace}/{name}"
        resource = await self._resource(api_version, kind, what)
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        deletion = self._dynamic.delete(
            resource,
            name=name,
            namespace=namespace,
            body=options,
            serialize=False,
            _request_timeout=TIMEOUT_SECONDS,
        )
        try:
            await _answer(deletion, what)
        except Missing:
            return

    async def logs(self, namespace: str, pod: str, container: str, *, tail: int, follow: bool) -> AsyncIterator[str]:
        """Yield the last `tail` lines of a container's log, and with `follow` those that come. Raises ClusterError."""
        what = f"read the log of {namespace}/{pod}, container {container}"
        try:
            response = await kube.CoreV1Api(self._api).read_namespaced_pod_log_without_preload_content(
                pod, namespace, container=container, tail_lines=tail, follow=follow
            )
            if response.status >= 400:
                raise classify(response.status, await response.text(), what)
            async for line in response.content:
                yield line.decode("utf-8", "replace").rstrip("\n")
        except ApiException as error:
            raise _classified(error, what) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise classify(None, str(error), what) from error

    async def _resource(self, api_version: str, kind: str, what: str) -> Any:
        try:
            return await self._dynamic.resources.get(api_version=api_version, kind=kind)
        except ResourceNotFoundError as error:
            raise Missing(f"{what}: the API server does not serve {api_version} {kind}") from error
        except ApiException as error:
            raise _classified(error, what) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise classify(None, str(error) or type(error).__name__, what) from error


async def _answer(call: Awaitable[Any], what: str) -> Object:
    try:
        response = await call
        answer: Object = await response.json()
    except ApiException as error:
        raise _classified(error, what) from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise classify(None, str(error) or type(error).__name__, what) from error
    return answer


def _classified(error: ApiException, what: str) -> ClusterError:
    try:
        message = str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        message = str(error.reason)
    return classify(error.status, message, what)


def ensure_owned(live: Object | None, uid: str) -> None:
    """Refuse to touch an object that somebody else made.

    Raises:
        NotOwned: `live` exists and its controller is not the LLMDeployment with this uid.
    """
    if live is None:
        return
    metadata = live["metadata"]
    owner = next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), None)
    if owner is not None and owner["uid"] == uid:
        return
    holder = f"{owner['kind']} {owner['name']}" if owner else "nobody, so not to this LLMDeployment"
    raise NotOwned(
        f"{live['kind']} {metadata['namespace']}/{metadata['name']} exists already and belongs to {holder}; "
        "delete or rename it, or rename the LLMDeployment"
    )


@asynccontextmanager
async def connect(scratch: Path, kubeconfig: Path | None = None) -> AsyncIterator[KubeClient]:
    """Connect with a kubeconfig, by default KUBECONFIG, or inside a pod with its ServiceAccount.

    Args:
        scratch: Folder for the discovery cache, which the library would otherwise leave behind in /tmp.
        kubeconfig: File to use; None for what the environment offers.

    Raises:
        kubernetes.aio.config.ConfigException: there are no credentials.
        ClusterError: the API server does not answer.
    """
    await _load_credentials(kubeconfig)
    async with kube.ApiClient() as api:
        try:
            dynamic = await DynamicClient(api, cache_file=str(scratch / "discovery.json"))
        except ApiException as error:
            raise _classified(error, "discover the API") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise classify(None, str(error), "discover the API") from error
        yield KubeClient(api, dynamic)


async def _load_credentials(kubeconfig: Path | None) -> None:
    if kubeconfig is not None or "KUBECONFIG" in os.environ:
        await kube_config.load_kube_config(config_file=str(kubeconfig) if kubeconfig else None)
        return
    try:
        kube_config.load_incluster_config()
    except kube_config.ConfigException:
        await kube_config.load_kube_config()
