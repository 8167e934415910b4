"""The HTTPRoute's body to a value: where it leads, and whether its Gateways have taken that over. Pure.

Read are: metadata.generation; spec.parentRefs and the backends of spec.rules; the conditions Accepted and ResolvedRefs
of status.parents, which count only where they are about this generation.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from manta_operator.planning.integrations import INFERENCE_POOL
from manta_operator.planning.observed import ObservedRoute

Body = Mapping[str, Any]
Object = dict[str, Any]

_TOLD = ("type", "status", "message", "observedGeneration")
_JUDGED = ("Accepted", "ResolvedRefs")


def slim_route(body: Body) -> Object:
    """Return what `observe_route` reads of spec and status; metadata is the caller's."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    rules = [{"backendRefs": [{"kind": kind} for kind in _backends([rule])]} for rule in spec.get("rules") or ()]
    parents = [
        {"parentRef": parent.get("parentRef"), "conditions": [_slim(each) for each in _conditions(parent)]}
        for parent in status.get("parents") or ()
    ]
    return {"spec": {"parentRefs": spec.get("parentRefs"), "rules": rules}, "status": {"parents": parents}}


def observe_route(body: Body, age: float) -> ObservedRoute:
    """Read the route.

    Args:
        body: The HTTPRoute, whole or slim.
        age: Seconds since it was first seen as it is now.
    """
    spec, generation = body.get("spec") or {}, body["metadata"].get("generation")
    parents = (body.get("status") or {}).get("parents") or ()
    said = [{each["type"]: each for each in _conditions(parent) if _of(each, generation)} for parent in parents]
    taken = [all(told.get(kind, {}).get("status") == "True" for kind in _JUDGED) for told in said]
    lost = [told["ResolvedRefs"] for told in said if told.get("ResolvedRefs", {}).get("status") == "False"]
    return ObservedRoute(
        to_pool=INFERENCE_POOL.kind in _backends(spec.get("rules") or ()),
        taken=len(taken) >= len(spec.get("parentRefs") or ()) and all(taken),
        refusal=str(lost[0].get("message") or "without a word") if lost else "",
        age=age,
    )


def _backends(rules: Iterable[Body]) -> list[str]:
    return [ref.get("kind") or "Service" for rule in rules for ref in rule.get("backendRefs") or ()]


def _conditions(parent: Body) -> list[Body]:
    return [each for each in parent.get("conditions") or () if each.get("type") in _JUDGED]


def _slim(condition: Body) -> Object:
    return {name: condition[name] for name in _TOLD if name in condition}


def _of(condition: Body, generation: Any) -> bool:
    return generation is not None and condition.get("observedGeneration") == generation
