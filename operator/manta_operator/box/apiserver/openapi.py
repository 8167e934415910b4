"""OpenAPI documents: /openapi/v2, the index /openapi/v3 and one v3 document a group version.

Nothing is built before it is asked for. What was built is kept for as long as the kinds it describes stay the same.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from manta_operator.box.apiserver.discovery import version as server_version
from manta_operator.box.apiserver.openapi_paths import paths_of
from manta_operator.box.apiserver.openapi_schemas import (
    DELETE_OPTIONS,
    EVICTION,
    PATCH,
    SCALE,
    STATUS,
    V2,
    V3,
    schemas_for,
)
from manta_operator.box.apiserver.resources import Registry, Resource
from manta_operator.box.cluster import Object

_GroupVersion = tuple[str, str] | None
"""None stands for all of them: the v2 document."""


@dataclass
class OpenApi:
    """The documents of one registry."""

    registry: Registry
    _kept: dict[_GroupVersion, tuple[str, Object]] = field(default_factory=dict)

    def index(self) -> Object:
        """Answer /openapi/v3. The hash in each URL changes with the document, so clients may cache it for good."""
        paths = {}
        for group, versions in self.registry.groups().items():
            for version in versions:
                path = f"apis/{group}/{version}" if group else f"api/{version}"
                url = f"/openapi/v3/{path}?hash={self.hash(group, version)}"
                paths[path] = {"serverRelativeURL": url}
        return {"paths": paths}

    def hash(self, group: str, version: str) -> str:
        """Return what stands behind `?hash=` in the index; also good as an ETag."""
        return _fingerprint(self._kinds((group, version)))

    def v3(self, group: str, version: str) -> Object | None:
        """Answer /openapi/v3/apis/<group>/<version>, or /openapi/v3/api/v1 (group ""); None is 404."""
        return self._document((group, version))

    def v2(self) -> Object:
        """Answer /openapi/v2 as JSON (swagger)."""
        return self._document(None) or {}

    def _document(self, key: _GroupVersion) -> Object | None:
        kinds = self._kinds(key)
        if not kinds:
            return None
        fingerprint = _fingerprint(kinds)
        kept = self._kept.get(key)
        if kept is None or kept[0] != fingerprint:
            kept = (fingerprint, _v2(kinds) if key is None else _v3(kinds))
            self._kept[key] = kept
        return kept[1]

    def _kinds(self, key: _GroupVersion) -> list[Resource]:
        return [resource for resource in self.registry if key in (None, (resource.group, resource.version))]


def _fingerprint(kinds: Iterable[Resource]) -> str:
    """Hash of what a document is made of: cheaper than the document, and it changes when the document does."""
    parts: list[Any] = [server_version()["gitVersion"]]
    for resource in kinds:
        below = [resource.status, bool(resource.scale), resource.log, resource.eviction]
        schema = dict(resource.crd_version.get("schema") or {}) if resource.crd_version else None
        parts.append([resource.path("{namespace}"), resource.kind, resource.verbs, below, schema])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest().upper()


def _v3(kinds: list[Resource]) -> Object:
    schemas = schemas_for(V3, kinds, _others(kinds))
    return {"openapi": "3.0.0", "info": _info(), "paths": paths_of(V3, kinds), "components": {"schemas": schemas}}


def _v2(kinds: list[Resource]) -> Object:
    return {
        "swagger": "2.0",
        "info": _info(),
        "paths": paths_of(V2, kinds),
        "definitions": schemas_for(V2, kinds, _others(kinds)),
    }


def _others(kinds: list[Resource]) -> list[str]:
    others = [DELETE_OPTIONS, STATUS, PATCH]
    if any(resource.scale for resource in kinds):
        others.append(SCALE)
    if any(resource.eviction for resource in kinds):
        others.append(EVICTION)
    return others


def _info() -> Object:
    return {"title": "Kubernetes", "version": server_version()["gitVersion"]}
