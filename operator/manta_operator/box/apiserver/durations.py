"""Times as kubectl writes them: `45s`, `3m20s`, `5d`. Used by the columns of tables."""

from datetime import UTC, datetime

UNKNOWN = "<unknown>"
_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def age(timestamp: object, now: datetime) -> str:
    """Return how long ago an RFC 3339 timestamp was; `<unknown>` if there is none."""
    moment = parse(timestamp)
    return UNKNOWN if moment is None else duration((now - moment).total_seconds())


def parse(timestamp: object) -> datetime | None:
    """Read an RFC 3339 timestamp; None if it is none."""
    try:
        moment = datetime.fromisoformat(timestamp) if isinstance(timestamp, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None


def duration(seconds: float) -> str:
    """Return seconds in at most two units, the precision falling as the duration grows."""
    whole = int(seconds)
    if whole < 0:
        return "<invalid>" if whole < -1 else "0s"
    for limit, unit, name, minor, minor_name in (
        (2 * _MINUTE, 1, "s", 0, ""),
        (10 * _MINUTE, _MINUTE, "m", 1, "s"),
        (3 * _HOUR, _MINUTE, "m", 0, ""),
        (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
        (2 * _DAY, _HOUR, "h", 0, ""),
        (8 * _DAY, _DAY, "d", _HOUR, "h"),
        (2 * _YEAR, _DAY, "d", 0, ""),
        (8 * _YEAR, _YEAR, "y", _DAY, "d"),
    ):
        if whole < limit:
            rest = whole % unit // minor if minor else 0
            return f"{whole // unit}{name}" + (f"{rest}{minor_name}" if rest else "")
    return f"{whole // _YEAR}y"
