"""What the API server may refuse, classified once, at the client's edge.

ClusterError            reason for the condition, message for people, seconds until it is worth trying again
+-- NotOwned            the name is taken by an object that is not ours: never touched
+-- Forbidden           the operator lacks a permission: retried slowly, a human has to act
|   +-- Unauthorized    the API server does not know the operator: its token is invalid
|   +-- Terminating     the namespace is being deleted, and we with it: no alarm
+-- InvalidObject       the API server refuses what we built: a bug or an admission policy
+-- Missing             the kind or the object is not there
+-- Transient           overload, network: the next pass tries again
    +-- Leaving         the name is taken by what a deleted LLMDeployment of ours has left to the garbage collector
    +-- Conflict        somebody else was faster, or holds a field
    +-- Expired         the watch is too far behind: list again
"""

LONGEST_ASKED_SECONDS = 60.0
"""No longer than this anybody is waited for, whatever a Retry-After says: a proxy may say a day."""


class ClusterError(Exception):
    """An API call that did not succeed; `reason` is one CamelCase word."""

    reason = "ClusterError"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        sane = retry_after is None or 0.0 <= retry_after <= LONGEST_ASKED_SECONDS
        self.retry_after = retry_after if sane else LONGEST_ASKED_SECONDS


class NotOwned(ClusterError):
    """An object of that name exists and belongs to somebody else."""

    reason = "NotOwned"


class Forbidden(ClusterError):
    """The operator's ServiceAccount may not do this."""

    reason = "Forbidden"


class Unauthorized(Forbidden):
    """The API server does not accept the operator's token: nothing will go until it does."""


class Terminating(Forbidden):
    """The namespace is being deleted: nothing new can be made in it, and nothing needs to."""

    reason = "NamespaceTerminating"


class InvalidObject(ClusterError):
    """The API server or an admission policy refuses the object."""

    reason = "InvalidObject"


class Missing(ClusterError):
    """There is no such kind or object."""

    reason = "Missing"


class Transient(ClusterError):
    """Worth trying again as it is."""

    reason = "Transient"


class Leaving(Transient):
    """The child of an LLMDeployment that is gone, of the name of the one at hand: wait until it is gone, too."""


class Conflict(Transient):
    """Somebody else wrote first, or owns a field that was not to be won by force."""


class Expired(Transient):
    """The API server no longer knows what happened since then."""


_BY_CODE: dict[int, type[ClusterError]] = {
    400: InvalidObject,
    401: Unauthorized,
    403: Forbidden,
    404: Missing,
    409: Conflict,
    410: Expired,
    422: InvalidObject,
}


def classify(code: int | None, message: str, what: str, retry_after: float | None = None) -> ClusterError:
    """Return the error for an HTTP status; no status means that nobody answered.

    Args:
        code: HTTP status, None for a network failure.
        message: What the API server said.
        what: What was tried, for example "apply StatefulSet default/tiny-1a2b3c4d-0".
        retry_after: Seconds the API server asks us to wait, from its header Retry-After.
    """
    kind = _BY_CODE.get(code or 0, Transient)
    if kind is Forbidden and "because it is being terminated" in message:
        kind = Terminating
    return kind(f"{what}: {message}", retry_after)
