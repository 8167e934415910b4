"""What pods ask for: the sum that the scheduler counts, by resource. Pure."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from manta_operator.placement.quantities import Amounts, parse

Body = Mapping[str, Any]
ZERO = Fraction(0)
TERMINAL_PHASES = ("Succeeded", "Failed")


def requests(pod: Body) -> dict[str, Fraction]:
    """What a pod asks for: the sum of its containers, or the largest init step if that is more (sidecars count on).

    Args:
        pod: A pod, or a pod template: anything with a `spec`.
    """
    spec = pod["spec"]
    total = add(_asked(container) for container in spec.get("containers") or [])
    sidecars: dict[str, Fraction] = {}
    peak: dict[str, Fraction] = {}
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            sidecars = add([sidecars, _asked(container)])
            peak = _largest(peak, sidecars)
        else:
            peak = _largest(peak, add([sidecars, _asked(container)]))
    overhead = {name: parse(amount) for name, amount in (spec.get("overhead") or {}).items()}
    return {**add([_largest(add([total, sidecars]), peak), overhead]), "pods": Fraction(1)}


def _asked(container: Body) -> dict[str, Fraction]:
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: parse(amount) for name, amount in asked.items()}


def holds(pod: Body) -> bool:
    """Whether the pod holds what it asked for: it is bound and has not ended, even if it is being deleted."""
    phase = (pod.get("status") or {}).get("phase")
    return bool(pod["spec"].get("nodeName")) and phase not in TERMINAL_PHASES


def in_use(pods: Iterable[Body]) -> dict[str, Fraction]:
    """What the bound pods that have not ended hold."""
    return add(requests(pod) for pod in pods if holds(pod))


def add(parts: Iterable[Amounts]) -> dict[str, Fraction]:
    """Add amounts up, resource by resource."""
    total: dict[str, Fraction] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, ZERO) + amount
    return total


def _largest(left: Amounts, right: Amounts) -> dict[str, Fraction]:
    return {name: max(left.get(name, ZERO), right.get(name, ZERO)) for name in {**left, **right}}
