"""What the API server may refuse, classified once, at the client's edge.

ClusterError            reason for the condition, message for people
+-- NotOwned            the name is taken by an object that is not ours: never touched
+-- Forbidden           the operator lacks a permission: retried slowly, a human has to act
+-- InvalidObject       the API server refuses what we built: a bug or an admission policy
+-- Missing             the kind or the object is not there
+-- Transient           conflict, overload, network: the next pass tries again
"""


class ClusterError(Exception):
    """An API call that did not succeed; `reason` is one CamelCase word."""

    reason = "ClusterError"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotOwned(ClusterError):
    """An object of that name exists and belongs to somebody else."""

    reason = "NotOwned"


class Forbidden(ClusterError):
    """The operator's ServiceAccount may not do this."""

    reason = "Forbidden"


class InvalidObject(ClusterError):
    """The API server or an admission policy refuses the object."""

    reason = "InvalidObject"


class Missing(ClusterError):
    """There is no such kind or object."""

    reason = "Missing"


class Transient(ClusterError):
    """Worth trying again as it is."""

    reason = "Transient"


_BY_CODE: dict[int, type[ClusterError]] = {
    400: InvalidObject,
    401: Forbidden,
    403: Forbidden,
    404: Missing,
    422: InvalidObject,
}


def classify(code: int | None, message: str, what: str) -> ClusterError:
    """Return the error for an HTTP status; no status means that nobody answered.

    Args:
        code: HTTP status, None for a network failure.
        message: What the API server said.
        what: What was tried, for example "apply StatefulSet default/tiny-1a2b3c4d-0".
    """
    kind = _BY_CODE.get(code or 0, Transient)
    return kind(f"{what}: {message}")
