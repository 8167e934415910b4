"""Lines of an engine pod's log for people: the text of a JSON line, any other line as it is. Pure.

In a cluster the launcher writes JSON (docs/observability.md), in the box text.
"""

import json


def plain(line: str) -> str:
    """Return `HH:MM:SS source: message`, or the line itself where it is none of the launcher's JSON lines."""
    if not line.startswith('{"time":"'):
        return line
    try:
        fields = json.loads(line)
        return f"{fields['time'][11:19]} {fields['source']}: {fields['message']}"
    except (ValueError, KeyError, TypeError):
        return line
