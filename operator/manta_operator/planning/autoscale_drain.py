"""Whether a replica that the autoscaler takes away has the time to finish its answers, as a decision. Pure.

It comes and goes many times a day, so what a rollout cuts once a month would be cut daily: pods are killed when
`spec.rollout.drainSeconds` are over. The default stays what it is, for it is part of every pod's template.
"""

from manta_operator.api.models import LLMDeploymentSpec
from manta_operator.planning.rollout_words import Decision

SHORT_SECONDS = 120
"""Answers of a chat are over by then; those of a model that reasons, or of 10^4 tokens, are not."""


def decisions(spec: LLMDeploymentSpec) -> tuple[Decision, ...]:
    """Return that answers may be cut, where they may; the longest that is let in takes requestSeconds."""
    drain, longest = spec.rollout.drain_seconds, spec.router.timeouts.request_seconds
    if spec.autoscaling is None or drain >= min(SHORT_SECONDS, longest):
        return ()
    message = (
        f"a replica that the autoscaler takes away has {drain} s for the answers in flight, and one that takes longer "
        f"is cut (spec.router.timeouts.requestSeconds lets them take {longest} s): set spec.rollout.drainSeconds to "
        "what the longest answers take"
    )
    return (Decision("ShortDrain", message),)
