"""How many prompt tokens each replica got lately, against the mean of all: what keeps affinity from piling up load.

Queues alone do not: a replica with a popular prefix can be asked all day without a queue, while its KV cache, its
decode batch and its failure matter more than those of the others. Over minutes, so that it moves prefixes seldom.
For `chooser.py`; pure: the time is passed in.

Until a request ends its tokens are the client's to say, so it counts as no more than a few average ones (`add`), then
as what the engine has counted, or as nothing if the engine refused it (`correct`).
"""

import math
from collections.abc import Iterable

FADE_SECONDS = 600.0
# As many average requests are added to the mean, so that chance does not decide while few have come.
_PRIOR_REQUESTS = 16.0
# For so many requests at most a newcomer is one: an engine that fails at once never has its part of the load.
NEW_REQUESTS = 32
# What has not ended counts as so many average requests at most; until there are many, those have about so many tokens.
_MOST_REQUESTS, _PRIOR_TOKENS = 10.0, 1024.0


class Share:
    """Prompt tokens by replica, fading with time. `sent` is to be read only.

    `newcomers`: those that came when others worked already, and for how many requests yet they count as new; to be
    taken out as soon as they have their part of the load.
    """

    def __init__(self) -> None:
        self.sent: dict[str, float] = {}
        self.newcomers: dict[str, int] = {}
        self._total = 0.0
        self._requests = 0.0
        self._faded = 0.0

    def add(self, replica: str, tokens: int, now: float) -> int:
        """`replica` gets a prompt of `tokens` tokens, presumably, now (seconds). Returns how many are counted."""
        if now > self._faded + 1.0:
            self._fade(now)
        if replica not in self.sent:
            self.join(replica)
        mean = (self._total + _PRIOR_REQUESTS * _PRIOR_TOKENS) / (self._requests + _PRIOR_REQUESTS)
        if tokens > _MOST_REQUESTS * mean:
            tokens = int(_MOST_REQUESTS * mean)
        self.sent[replica] += tokens
        self._total += tokens
        self._requests += 1.0
        if replica in self.newcomers:
            self.newcomers[replica] -= 1
            if not self.newcomers[replica]:
                del self.newcomers[replica]
        return tokens

    def correct(self, replica: str, counted: int, tokens: int, at: float) -> None:
        """The prompt that was counted as `counted` tokens at the time `at` had `tokens`; 0: it was not computed."""
        if replica in self.sent:
            left = math.exp(min(0.0, at - self._faded) / FADE_SECONDS)
            by = max((tokens - counted) * left, -self.sent[replica])
            self.sent[replica] += by
            self._total += by
            if not tokens:
                self._requests = max(0.0, self._requests - left)

    def join(self, replica: str) -> None:
        """`replica` may be chosen from now on, or was forgotten: it is a newcomer, if others have got something.

        It starts as if it had got as much as any: it is to get its part from now on, not to catch up with the others.
        """
        most = max(self.sent.values(), default=0.0)
        self._total += most - self.sent.get(replica, 0.0)
        self.sent[replica] = most
        if most:
            self.newcomers[replica] = NEW_REQUESTS

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
        self.newcomers = {name: left for name, left in self.newcomers.items() if name in keep}
        self._total = sum(self.sent.values())

    def forget(self, replica: str) -> None:
        """The engine has started anew: it is to come again as a newcomer."""
        self._total -= self.sent.pop(replica, 0.0)
        self.newcomers.pop(replica, None)

    def _fade(self, now: float) -> None:
        factor = math.exp((self._faded - now) / FADE_SECONDS) if self._requests else 1.0
        self._requests *= factor
        self.sent = {name: tokens * factor for name, tokens in self.sent.items()}
        self._total = sum(self.sent.values())
        self._faded = now
