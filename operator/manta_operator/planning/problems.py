"""What is wrong with a deployment, for people: where, what, and what to do next."""

from dataclasses import dataclass

DOES_NOT_FIT = "DoesNotFit"
"""The reason of a problem with a spec that is right, but for a model that does not fit."""


@dataclass(frozen=True)
class Problem:
    """One reason why a deployment cannot be served as written. `path` is the field, as `kubectl explain` spells it."""

    path: str
    message: str
    remedy: str
    reason: str = "InvalidSpec"
    """One CamelCase word: InvalidSpec or DoesNotFit."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}; {self.remedy}"


@dataclass(frozen=True)
class Failure:
    """One thing that the API server did not do for us: the reason of a condition, and what was tried and said."""

    reason: str
    """One CamelCase word: NotOwned, Forbidden, InvalidObject, Missing, Transient."""
    message: str
