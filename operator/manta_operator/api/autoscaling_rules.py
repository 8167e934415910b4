"""The CEL rules about `spec.autoscaling`."""

from manta_operator.api.rule import Rule

AUTOSCALING_RULES = (
    Rule(
        "self.minReplicas <= self.maxReplicas",
        "minReplicas is above maxReplicas: raise maxReplicas, or lower minReplicas",
        field_path=".minReplicas",
    ),
    Rule(
        "self.signal == 'latency' || !has(self.target.betweenTokensMilliseconds)",
        "nobody keeps to betweenTokensMilliseconds with signal utilisation: set signal to latency, or leave it out",
        field_path=".target.betweenTokensMilliseconds",
    ),
)

HOLDING_RULES = (
    Rule(
        "!has(self.autoscaling) || self.autoscaling.minReplicas > 0 || self.router.hold.queueSize > 0",
        "with minReplicas 0 requests wait in the router for the first replica, and queueSize 0 lets none wait: "
        "raise it, or set spec.autoscaling.minReplicas to 1",
        field_path=".router.hold.queueSize",
    ),
)
"""On `spec`: they read two of its fields."""
