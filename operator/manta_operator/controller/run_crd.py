"""Whether the CRD of a cluster is one that this version of the operator can write a status to. Asked at the start.

With a CRD of an older Manta the API server refuses every status, for good: better to wait, and leave the deployments to
the operator of before, which goes on as long as this one is not ready. Asked of the OpenAPI document, which everybody
may read; where there is none nothing is known, and the operator starts.
"""

from collections.abc import Mapping
from typing import Any

import aiohttp

from manta_operator.api import names
from manta_operator.api.crd import custom_resource_definition

_TIMEOUT = aiohttp.ClientTimeout(total=10)


async def lacking(session: aiohttp.ClientSession, server: str) -> str:
    """Return a field of the status that the cluster's CRD does not know; empty if none, or if it cannot be told."""
    try:
        async with session.get(f"{server}/openapi/v3/apis/{names.API_VERSION}", timeout=_TIMEOUT) as answer:
            document = await answer.json() if answer.status == 200 else {}
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return ""
    [version] = custom_resource_definition()["spec"]["versions"]
    return missing(_status(version["schema"]["openAPIV3Schema"]), _status(_served(document)), "status")


def missing(ours: Mapping[str, Any], theirs: Mapping[str, Any], path: str) -> str:
    """Return the path of the first property of a schema that another has not; empty if it has all that can be seen."""
    if "items" in ours:
        return missing(ours["items"], theirs.get("items") or {}, f"{path}[]")
    known = theirs.get("properties")
    if not known:
        return ""
    for name, schema in ours.get("properties", {}).items():
        here = f"{path}.{name}"
        if name not in known:
            return here
        if found := missing(schema, known[name], here):
            return found
    return ""


def _served(document: Any) -> Mapping[str, Any]:
    schemas = (document.get("components") or {}).get("schemas") or {} if isinstance(document, Mapping) else {}
    return next((schema for name, schema in schemas.items() if name.endswith(f".{names.KIND}")), {})


def _status(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (schema.get("properties") or {}).get("status") or {}
    return found
