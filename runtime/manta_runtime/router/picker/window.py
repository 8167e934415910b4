"""What was spent in the last minute: a ring of one-second buckets. Pure; `limits.py` keeps two for every tenant.

The sum is over the current second and the 60 before it, so over 60 to 61 s: any 60 s that end now lie within it, and
the only error is that what was spent is free again up to a second late. Amounts of other routers lie beside our own in
the same seconds, apart, because only our own are told to others.
"""

from itertools import zip_longest

SECONDS = 60
_SIZE = SECONDS + 1
Ages = list[int]
"""Amounts by age in whole seconds, the youngest (the current second) first."""


class Window:
    """Amounts by second, in memory that does not grow. `total`: the sum as of the last `advance`."""

    __slots__ = ("_others", "_own", "_second", "total")

    def __init__(self) -> None:
        self._own = [0] * _SIZE
        self._others = [0] * _SIZE
        self._second = 0
        self.total = 0

    def advance(self, second: int) -> int:
        """Forget what is older than the window that ends in `second`; return the total. Time never goes back."""
        passed = second - self._second
        if passed > 0:
            if self.total or passed < _SIZE:
                self._forget(passed)
            self._second = second
        return self.total

    def _forget(self, passed: int) -> None:
        if passed >= _SIZE:
            self._own, self._others, self.total = [0] * _SIZE, [0] * _SIZE, 0
            return
        own, others = self._own, self._others
        for second in range(self._second + 1, self._second + passed + 1):
            place = second % _SIZE
            self.total -= own[place] + others[place]
            own[place] = others[place] = 0

    def add(self, amount: int, second: int) -> None:
        """Spend an amount of our own in `second`, which may be past; older than the window it counts for nothing."""
        if self._second - _SIZE < second <= self._second:
            self._own[second % _SIZE] += amount
            self.total += amount

    def replace_others(self, before: Ages, after: Ages) -> None:
        """Put what another router told in the place of what it told before, both by age as of now."""
        for age, (old, new) in enumerate(zip_longest(before[:_SIZE], after[:_SIZE], fillvalue=0)):
            if old != new:
                self._others[(self._second - age) % _SIZE] += new - old
                self.total += new - old

    def frees(self, excess: int) -> int:
        """The second in which `excess` of the total will be forgotten, if nothing is spent; it must be ≤ the total."""
        for second in range(self._second - SECONDS, self._second + 1):
            place = second % _SIZE
            excess -= self._own[place] + self._others[place]
            if excess <= 0:
                return second + _SIZE
        return self._second + _SIZE

    def told(self) -> Ages:
        """Our own amounts, for other routers; zeros at the end are left out."""
        place = self._second % _SIZE
        ages = self._own[place::-1] + self._own[:place:-1]
        while ages and not ages[-1]:
            ages.pop()
        return ages
