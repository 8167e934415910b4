"""What is wrong with a deployment, for people: where, what, and what to do next."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One reason why a deployment cannot be served as written. `path` is the field, as `kubectl explain` spells it."""

    path: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}; {self.remedy}"
