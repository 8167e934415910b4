"""The one error that ends a launcher: a sentence for people and the exit code of the container."""

from __future__ import annotations


class EngineFailure(Exception):
    """The engine of this pod cannot go on; the container exits with `code` and the kubelet starts it again."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
