"""A stranger's `config.json` as something to count with: bounded, and with numbers that models have. Pure.

`models.from_config` passes every configuration through here, so that nothing behind it meets 10^400, NaN or an object
without an end. A number that no model has becomes words, which every field that asks for a number refuses by its name;
a field that nobody asks for (`time_step_limit: [0, Infinity]`, a `model_max_length` of 10^30) does no harm.
"""

from collections.abc import Mapping
from typing import Any

from manta_operator.facts.anatomy.headers import FactsError

LARGEST = 2**53
"""Beyond it floats no longer count one by one; parameters of the largest models are 2^42."""
_DEPTH = 32
_VALUES = 1_000_000
"""Values of one configuration: ModelOpt's lists of every matrix of a large model have some hundred thousand."""


def plausible(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a copy of `config` without numbers beyond 2^53 and without those that are not finite.

    Raises:
        FactsError: it is too deep, or too large, to be the configuration of a model.
    """
    copied: dict[str, Any] = _Copy().of(config, _DEPTH)
    return copied


class _Copy:
    """Copies values, and counts them: YAML can hold one of them a billion times."""

    def __init__(self) -> None:
        self._left = _VALUES

    def of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise FactsError(f"config.json has more than {_VALUES:,} values: it is not that of a model")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value if abs(value) <= LARGEST else _words(value)
        if not isinstance(value, Mapping | list | tuple):
            return value
        if not depth:
            raise FactsError(f"config.json is nested more than {_DEPTH} deep: it is not that of a model")
        if isinstance(value, Mapping):
            return {str(key): self.of(each, depth - 1) for key, each in value.items()}
        return [self.of(each, depth - 1) for each in value]


def _words(number: float) -> str:
    return "a number beyond 2^53" if number - number == 0 else "a number that is not finite"
