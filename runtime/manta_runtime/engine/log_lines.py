"""Lines of a pod's log: what a line of vLLM or Ray says of itself, and one line of JSON for all of them. Pure.

In the flow: relay.py cuts a child's output into lines → here they are read → journal.py learns from them →
log_output.py writes them. Every line comes out again: what is not understood is a message of level info. A fetch of
weights writes its own lines the same way (models/log.py).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LogFormat = Literal["json", "text"]
Source = Literal["manta", "vllm", "ray"]

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_LEVELS = "DEBUG|INFO|WARNING|ERROR|CRITICAL"
_RAYS = "SUCC|WARN|ERR|PANIC"
# `(APIServer pid=7) `; what a Ray worker prints comes with one more of Ray's own in front. In two steps, each of
# bounded length: a line may be 256 KiB of anything, and this runs in the event loop that answers the probes.
_BRACKETS = re.compile(r"\(([^()]{1,300})\) ?")
_PROCESS = re.compile(r"(\S+)\s(?:.*\W)?pid=\d", re.DOTALL)
_FORMS = tuple(
    re.compile(form, re.DOTALL)
    for form in (
        rf"(?P<level>{_LEVELS}) \d\d-\d\d \d\d:\d\d:\d\d \[(?P<logger>[^\]\s]+:\d+)\] ?(?P<message>.*)",  # vLLM
        rf"(?P<level>{_LEVELS}):\s+(?P<message>.*)",  # uvicorn
        rf"\d{{4}}-\d\d-\d\d \S+\s+(?P<level>{_LEVELS}|{_RAYS})\s+(?P<logger>\S+:\d+) -- (?P<message>.*)",  # Ray
        r"\[(?P<level>[DIWEF])\d{4} [\d:.]+ (?:\d+ )?(?P<logger>\S+:\d+)\] (?P<message>.*)",  # PyTorch's C++
    )
)
_LEVEL_NAMES = {each: each.lower() for each in _LEVELS.split("|")} | {
    "D": "debug",
    "I": "info",
    "W": "warning",
    "E": "error",
    "F": "critical",
    "SUCC": "info",
    "WARN": "warning",
    "ERR": "error",
    "PANIC": "critical",
}
_FAILED = re.compile(r"Traceback \(most recent call last\)|[\w.]*(?:Error|Exception): ")
_WARNED = re.compile(r"\S+:\d+: \w*Warning: ")

_SECRET_NAME = re.compile(r"(?:TOKEN|SECRET|PASSWORD|KEY|KEY_ID|CREDENTIALS?)$", re.IGNORECASE)
_SHORTEST_SECRET = 8
_SIGNATURE = re.compile(
    r"(?i)((?:x-(?:amz|goog)-)?(?:signature|credential|security-token)|policy|key-pair-id)=[^&\s\"']+"
)
_USER = re.compile(r"(?<=://)[^/\s@]+@")


class Line(NamedTuple):
    """One line: `logger` is the place in the code where vLLM names it, `process` which of its processes spoke."""

    level: str
    message: str
    logger: str = ""
    process: str = ""


class Place(NamedTuple):
    """Whose log it is: the group (one replica), the rank in it, and the pod."""

    group: str
    rank: int
    pod: str


class _Envelope(msgspec.Struct, omit_defaults=True):
    # What people look for comes first: the line is read by `kubectl logs`, too.
    time: datetime
    level: str
    message: str
    source: str
    rank: int
    group: str
    pod: str
    phase: str
    logger: str = ""
    process: str = ""


_encode = msgspec.json.Encoder().encode


def read_line(text: str) -> Line:
    """Return what one line of vLLM's or Ray's output says, without colours and its own prefix."""
    text = _ANSI.sub("", text) if "\x1b" in text else text
    process, text = _read_processes(text)
    for form in _FORMS:
        if found := form.match(text):
            parts = found.groupdict()
            return Line(_LEVEL_NAMES[parts["level"]], parts["message"], parts.get("logger") or "", process)
    level = "error" if _FAILED.match(text) else "warning" if _WARNED.match(text) else "info"
    return Line(level, text, "", process)


def _read_processes(text: str) -> tuple[str, str]:
    """Return the last process that the line begins with, and what comes after."""
    process, end = "", 0
    while (brackets := _BRACKETS.match(text, end)) and (found := _PROCESS.match(brackets[1])):
        process, end = found[1], brackets.end()
    return process, text[end:]


def envelope(place: Place, phase: str, source: Source, line: Line, when: float) -> bytes:
    """Return the line of JSON, with its newline; `when` is the time in seconds since 1970."""
    fields = _Envelope(
        time=datetime.fromtimestamp(when, UTC),
        level=line.level,
        message=line.message,
        source=source,
        rank=place.rank,
        group=place.group,
        pod=place.pod,
        phase=phase,
        logger=line.logger,
        process=line.process,
    )
    try:
        return _encode(fields) + b"\n"
    except UnicodeEncodeError:
        # A lone surrogate: file names and environment variables may hold any bytes.
        fields.message = line.message.encode(errors="backslashreplace").decode()
        return _encode(fields) + b"\n"


def secrets_of(environ: Mapping[str, str], others: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the values that no line may show, longest first: of variables named so, and `others`.

    Shorter ones than 8 characters are left out: to blank them everywhere would make other words unreadable.
    """
    named = (value for name, value in environ.items() if _SECRET_NAME.search(name))
    return tuple(sorted({each for each in (*named, *others) if len(each) >= _SHORTEST_SECRET}, key=len, reverse=True))


def mask(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every secret replaced by `***`."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, "***")
    return text


def mask_addresses(text: str) -> str:
    """Return the text without the users and the signatures of its addresses: they open what they lead to."""
    return _USER.sub("***@", _SIGNATURE.sub(r"\1=***", text))
