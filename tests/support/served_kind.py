"""The LLMDeployment kind in an API server of the box, as creating its definition brings it but twenty times as fast.

A definition is 80 KB and its rules are compiled; hundreds of tests want it in a cluster of their own.
"""

import functools
from collections.abc import Sequence

from manta_operator.api.crd import custom_resource_definition
from manta_operator.box.apiserver.crds import KIND
from manta_operator.box.apiserver.operations import table_of
from manta_operator.box.apiserver.resources import Registry, Resource
from manta_operator.box.apiserver.server import ApiServer
from manta_operator.box.apiserver.store import Object


def serve_llmdeployments(server: ApiServer) -> None:
    """Bring the kind to a cluster that has nobody who watches yet."""
    definition, served = _admitted()
    metadata = dict(definition["metadata"])  # the store writes the version there; it never changes an object otherwise
    table = table_of(_kind_of_definitions(server._registry))
    server._store.put(table, ("", metadata["name"]), definition | {"metadata": metadata})
    for kind in served:
        server._registry.add(kind)


@functools.cache
def _admitted() -> tuple[Object, Sequence[Resource]]:
    """Return the definition as an API server has stored it, and what it serves for it."""
    server = ApiServer(token="t", service_addresses=iter(()))
    server.cluster.create(custom_resource_definition())
    ((_, definition),) = server._store.objects(table_of(_kind_of_definitions(server._registry)))
    return definition, [kind for kind in server._registry if kind.crd is not None]


def _kind_of_definitions(registry: Registry) -> Resource:
    found = registry.named(KIND)
    assert found is not None
    return found
