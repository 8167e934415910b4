"""The Decider's refusals for want of a place: which one, and when to ask again. Part of `decide.py`."""

from manta_runtime.router.picker import decision as decisions
from manta_runtime.router.picker.decision import NO_REPLICA_SECONDS, Refused
from manta_runtime.router.picker.holding import Asked, Holding
from manta_runtime.router.picker.parts import Parts


class Refusals:
    """Every refusal is counted once, by its code."""

    def __init__(self, parts: Parts, holding: Holding) -> None:
        self._parts, self._holding = parts, holding

    def counted(self, refused: Refused) -> Refused:
        """Count it."""
        self._parts.metrics.refusals[refused.code] += 1
        return refused

    def turned_away(self, asked: Asked, refused: Refused, now: float) -> Refused:
        """Of a request that was let in: it costs its tenant nothing."""
        self._parts.access.ended(asked.charge, 0, now)
        return self.counted(refused)

    def no_place(self, code: str, now: float) -> Refused:
        """It may not wait, or has to give way."""
        return decisions.no_place(code, len(self._holding), self._holding.retry_after(now))

    def none_free(self, waited: int, now: float, *, allowed: bool = True) -> Refused:
        """All are busy, or there is none, or none that is allowed; `waited` in seconds."""
        model, members = self._parts.models.default, self._parts.members
        after = f" after {waited} s" if waited else ""
        if members.usable and allowed:
            code = "hold_expired" if waited else "saturated"
            text = f"model {model!r}: all {len(members.usable)} ready replicas are busy{after}; retry later"
            return decisions.unavailable(text, code, self._holding.retry_after(now))
        why = (
            "its ready replicas are being taken up"
            if members.ready and allowed
            else f"0 of {members.known} replicas ready"
        )
        text = f"model {model!r}: {why}{after}; retry later"
        return decisions.unavailable(text, "no_ready_replica", NO_REPLICA_SECONDS)
