"""The cases of `crd_rule_cases` that are about spec.autoscaling."""

from typing import Any

from crd_rule_cases import Case, router


def autoscaling(**fields: Any) -> dict[str, Any]:
    return {"autoscaling": {"maxReplicas": 4} | fields}


BETWEEN = {"betweenTokensMilliseconds": 50}

SCALING_CASES = [
    Case(
        "fewest above most",
        "minReplicas is above maxReplicas",
        "spec.autoscaling.minReplicas",
        autoscaling(minReplicas=5),
        autoscaling(minReplicas=4),
    ),
    Case(
        "latency of no signal",
        "nobody keeps to betweenTokensMilliseconds",
        "spec.autoscaling.target.betweenTokensMilliseconds",
        autoscaling(target=BETWEEN),
        autoscaling(signal="latency", target=BETWEEN),
    ),
    Case(
        "nobody waits at zero",
        "with minReplicas 0 requests wait",
        "spec.router.hold.queueSize",
        autoscaling(minReplicas=0) | router(hold={"queueSize": 0}),
        autoscaling(minReplicas=1) | router(hold={"queueSize": 0}),
    ),
]
