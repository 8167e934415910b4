"""How many prompt tokens each replica got lately, against the mean of all: what keeps affinity from piling up load.

Queues alone do not: a replica with a popular prefix can be asked all day without a queue, while its KV cache, its
decode batch and its failure matter more than those of the others. Over minutes, so that it moves prefixes seldom.
For `chooser.py`; pure: the time is passed in.
"""

import math
from collections.abc import Iterable

FADE_SECONDS = 600.0
# As many average requests are added to the mean, so that chance does not decide while few have come.
_PRIOR_REQUESTS = 16.0


class Share:
    """Prompt tokens by replica, fading with time. `sent` is to be read only."""

    def __init__(self) -> None:
        self.sent: dict[str, float] = {}
        self._total = 0.0
        self._requests = 0.0
        self._faded = 0.0

    def add(self, replica: str, tokens: int, now: float) -> None:
        """`replica` gets a prompt of `tokens` tokens now (seconds)."""
        if now > self._faded + 1.0:
            self._fade(now)
        self.join(replica)
        self.sent[replica] += tokens
        self._total += tokens
        self._requests += 1.0

    def join(self, replica: str) -> None:
        """`replica` may be chosen from now on. It starts as an average one: it is not to catch up with the others."""
        sent = self.sent
        if replica not in sent:
            sent[replica] = self._total / len(sent) if sent else 0.0
            self._total += sent[replica]

    def scale(self) -> tuple[float, float]:
        """Mean of the replicas' tokens, and what one above it is to be divided by; (0, 1) while nothing was sent."""
        if not self.sent or not self._requests:
            return 0.0, 1.0
        mean = self._total / len(self.sent)
        return mean, mean + _PRIOR_REQUESTS * self._total / self._requests + 1.0

    def keep_only(self, replicas: Iterable[str]) -> None:
        """Forget replicas that no longer exist."""
        keep = set(replicas)
        self.sent = {name: tokens for name, tokens in self.sent.items() if name in keep}
        self._total = sum(self.sent.values())

    def _fade(self, now: float) -> None:
        factor = math.exp((self._faded - now) / FADE_SECONDS) if self._requests else 1.0
        self._requests *= factor
        self.sent = {name: tokens * factor for name, tokens in self.sent.items()}
        self._total = sum(self.sent.values())
        self._faded = now
