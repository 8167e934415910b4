"""Judges `spec.podTemplate` before it is merged: the CRD cannot, for it keeps unknown fields. Pure.

Only what would break the merge or the deployment is refused here; everything else is the API server's to judge.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from manta_operator.api import names
from manta_operator.planning.problems import Problem

_PATH = "spec.podTemplate"
_OURS = ("manta.dev/", "apps.kubernetes.io/", "statefulset.kubernetes.io/", "app.kubernetes.io/")
_NAMED = {"containers": "name", "initContainers": "name", "volumes": "name", "imagePullSecrets": "name"}
_IN_CONTAINER = {"env": "name", "ports": "containerPort", "volumeMounts": "mountPath"}


def problems(template: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Return what is wrong with a pod template that is to be merged over Manta's own."""
    return tuple(_problems(template))


def _problems(template: Mapping[str, Any]) -> Iterator[Problem]:
    for key in sorted(set(template) - {"metadata", "spec"}):
        yield Problem(f"{_PATH}.{key}", "is no part of a pod template", "put it below metadata or spec")
    metadata, spec = template.get("metadata", {}), template.get("spec", {})
    if not isinstance(metadata, Mapping):
        yield _not_a("mapping", f"{_PATH}.metadata", metadata)
    else:
        yield from _labels(metadata.get("labels", {}))
    if not isinstance(spec, Mapping):
        yield _not_a("mapping", f"{_PATH}.spec", spec)
        return
    yield from _lists(spec, _NAMED, f"{_PATH}.spec")
    for field in ("containers", "initContainers"):
        containers = spec.get(field)
        for index, container in enumerate(containers if isinstance(containers, list) else ()):
            if isinstance(container, Mapping):
                yield from _lists(container, _IN_CONTAINER, f"{_PATH}.spec.{field}[{index}]")


def _labels(labels: Any) -> Iterator[Problem]:
    if not isinstance(labels, Mapping):
        yield _not_a("mapping", f"{_PATH}.metadata.labels", labels)
        return
    for name in labels:
        if str(name).startswith(_OURS):
            message = "is a label that Manta selects pods by"
            yield Problem(f"{_PATH}.metadata.labels[{name}]", message, f"leave it out; {names.KIND}s set it themselves")


def _lists(obj: Mapping[str, Any], keys: Mapping[str, str], path: str) -> Iterator[Problem]:
    for field, key in keys.items():
        entries = obj.get(field)
        if entries is not None and not isinstance(entries, list):
            yield _not_a("list", f"{path}.{field}", entries)
            continue
        for index, entry in enumerate(entries or ()):
            if not isinstance(entry, Mapping) or key not in entry:
                message = f"has no {key}, by which it would be merged"
                yield Problem(f"{path}.{field}[{index}]", message, f"write it as a mapping with {key}")


def _not_a(kind: str, path: str, value: Any) -> Problem:
    return Problem(path, f"should be a {kind}, it is {value!r}", "see `kubectl explain statefulset.spec.template`")
