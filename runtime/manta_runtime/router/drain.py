"""When may a draining router end? Pure: one value, advanced by every look at Envoy.

New requests keep coming for a while after a pod began to end: endpoints take a moment to change everywhere, and clients
learn with the next answer that their connection is not to be used again. So the wait is for quiet, not for a time.
"""

from dataclasses import dataclass, replace

QUIET_SECONDS = 3.0
"""Without a new request for this long, everybody looks elsewhere."""
QUIET_AT_MOST_SECONDS = 15.0
"""Who still sends new ones then has nowhere else to go."""


@dataclass(frozen=True, slots=True)
class Drain:
    """`began` and `quiet_since` on a clock of seconds; `sent`: requests that went to engines since Envoy started."""

    began: float
    seconds: float
    quiet_since: float
    sent: int | None = None
    active: int = 0


def begin(seconds: float, now: float) -> Drain:
    """A drain that begins now and may last `seconds`."""
    return Drain(began=now, seconds=seconds, quiet_since=now)


def after_look(drain: Drain, active: int, sent: int, now: float) -> Drain:
    """The drain after a look at `now`: `active` requests in flight, `sent` ones gone to engines so far."""
    quiet_since = drain.quiet_since if drain.sent in (None, sent) else now
    return replace(drain, active=active, sent=sent, quiet_since=quiet_since)


def is_over(drain: Drain, now: float) -> bool:
    """Whether Envoy may end: nobody comes and nothing is in flight, or the time is spent."""
    if now - drain.began >= drain.seconds:
        return True
    quiet = now - drain.quiet_since >= QUIET_SECONDS or now - drain.began >= QUIET_AT_MOST_SECONDS
    return quiet and not drain.active
