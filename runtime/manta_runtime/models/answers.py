"""What an HTTP status or a broken connection means for a fetch; used by hub.py and buckets.py."""

from __future__ import annotations

import email.utils
import time
from typing import TYPE_CHECKING

from manta_runtime.models.failure import PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manta_runtime.models.failure import FetchError

_RETRIED = (408, 425, 429)


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds of a Retry-After header (a number or a date), None without one that can be read."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - (time.time() if now is None else now))


def is_retried(status: int) -> bool:
    """Return whether another try may have another answer than this status of 300 or more."""
    return status in _RETRIED or status >= 500


def judge_status(status: int, headers: Mapping[str, str], what: str) -> FetchError:
    """Return the error for a status of 300 or more; `what` is the request in words."""
    if is_retried(status):
        return TransientError(f"{what}: the server answers {status}", retry_after(headers))
    return PermanentError(f"{what}: the server answers {status}")


def unreachable(what: str, reason: str, setting: str) -> TransientError:
    """Return the error for a server that cannot be reached; `setting` names the variable with its address."""
    return TransientError(
        f"{what}: no connection: {reason}. Check {setting}, the cluster's DNS, network policies and the proxies "
        "(HTTPS_PROXY, NO_PROXY)"
    )
