"""How long a container waits before it is started again."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BackoffPolicy:
    """Seconds. A real kubelet begins at 10 s and ends at 300 s; the box is for people who watch: 1 s to 60 s."""

    initial: float = 1.0
    maximum: float = 60.0
    reset_after: float = 600.0
    """A container that ran at least this long starts again from `initial` (as in Kubernetes: 10 minutes)."""


class Backoff:
    """Doubles from `initial` to `maximum`; one per container."""

    def __init__(self, policy: BackoffPolicy) -> None:
        self._policy = policy
        self._next = policy.initial

    def after_run(self, seconds: float) -> float:
        """Seconds to wait after a run that lasted `seconds`."""
        if seconds >= self._policy.reset_after:
            self._next = self._policy.initial
        delay = min(self._next, self._policy.maximum)
        self._next = delay * 2
        return delay
