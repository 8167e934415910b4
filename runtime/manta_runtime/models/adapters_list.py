"""The list of adapters that a pod is to have: the file that the operator keeps in a ConfigMap, read again and again.

Kubelets swap the file as a whole, but late, and an operator of another version may write other things: what cannot be
read changes nothing. Read by the container that fetches adapters (adapters_run.py) and by the launcher of each rank.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("manta.adapters")

MOUNTS = "BOX_MOUNTS"
"""Environment variable of the box, which has no mount namespaces."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SECRET = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}")
_MOST = 100
_LONGEST = 2048
_MOST_BYTES = 1024 * 1024  # of a ConfigMap, by Kubernetes itself


@dataclass(frozen=True)
class WantedAdapter:
    """One adapter: served as `name`, its files are to stand in `path`; `key` is another for other files.

    `fetch`: they come from `uri` over the network, else `path` is mounted. What was not said is "".
    """

    name: str
    key: str
    path: Path
    fetch: bool
    uri: str
    revision: str = ""
    endpoint: str = ""
    region: str = ""
    secret: str = ""


@dataclass(frozen=True)
class AdapterList:
    """All of them in order; `hash` is the operator's name for this list, "" before there was one."""

    hash: str = ""
    adapters: tuple[WantedAdapter, ...] = ()


def parse_list(text: str) -> AdapterList:
    """Read the JSON of the file. Raises ValueError that says what is wrong and where."""
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("adapters"), list):
        raise ValueError("no object with a list `adapters`")  # noqa: TRY004 - the file is wrong, not a call
    if len(data["adapters"]) > _MOST:
        raise ValueError(f"more than {_MOST} adapters")
    adapters = tuple(_parse_one(entry, f"adapters[{index}]") for index, entry in enumerate(data["adapters"]))
    if len({adapter.name for adapter in adapters}) < len(adapters):
        raise ValueError("two adapters of one name")
    return AdapterList(_text(data, "hash", "the list"), adapters)


def _parse_one(entry: object, where: str) -> WantedAdapter:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is no object")  # noqa: TRY004 - as above
    adapter = WantedAdapter(
        name=_text(entry, "name", where),
        key=_text(entry, "key", where),
        path=Path(_text(entry, "path", where)),
        fetch=entry.get("fetch") is True,
        uri=_text(entry, "uri", where),
        **{field: _text(entry, field, where) for field in ("revision", "endpoint", "region", "secret")},
    )
    if not adapter.name:
        raise ValueError(f"{where} has no name")
    if not _KEY.fullmatch(adapter.key):
        raise ValueError(f"{where}.key is no name of a folder: {adapter.key[:80]!r}")
    if not adapter.path.is_absolute() or ".." in adapter.path.parts:
        raise ValueError(f"{where}.path is no absolute path: {str(adapter.path)[:80]!r}")
    if adapter.secret and not _SECRET.fullmatch(adapter.secret):
        raise ValueError(f"{where}.secret is no name of a Secret: {adapter.secret[:80]!r}")
    return adapter


def _text(entry: dict[str, Any], field: str, where: str) -> str:
    value = entry.get(field)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        raise ValueError(f"{where}.{field} is no text")
    return value


def read_mounts(text: str) -> dict[str, str]:
    """Read the variable BOX_MOUNTS: mount path → real path, where containers have no file systems of their own.

    In Kubernetes there is none: "" is no mounts, as is anything that is not JSON of that form.
    """
    try:
        found: Any = json.loads(text or "{}")
        return {str(path): str(real) for path, real in found.items()}
    except (ValueError, AttributeError, RecursionError):
        return {}


def _real(path: Path, mounts: Mapping[str, str]) -> Path:
    longest = max((mount for mount in mounts if path.is_relative_to(mount)), key=len, default="")
    return Path(mounts[longest]) / path.relative_to(longest) if longest else path


class ListFile:
    """The file, and the last good list that was in it; `mounts` say where its paths really are (`read_mounts`)."""

    def __init__(self, path: Path, mounts: Mapping[str, str] | None = None) -> None:
        self.current = AdapterList()
        self._mounts = mounts or {}
        self._path = path
        self._text: str | None = None
        self._trouble = ""

    def look(self) -> AdapterList:
        """Read the file again and return the list; the one before where there is none to be read now."""
        try:
            with self._path.open(encoding="utf-8") as file:
                text = file.read(_MOST_BYTES)
            if text != self._text:
                self._take(parse_list(text), text)
            self._trouble = ""
        except FileNotFoundError:
            # A ConfigMap that somebody deleted is no order to unload everything.
            self._complain("there is no such file")
        except (OSError, ValueError) as error:
            self._complain(str(error))
        return self.current

    def _take(self, found: AdapterList, text: str) -> None:
        self._text = text
        adapters = tuple(replace(adapter, path=_real(adapter.path, self._mounts)) for adapter in found.adapters)
        found = replace(found, adapters=adapters)
        if found != self.current:
            names = ", ".join(adapter.name for adapter in found.adapters)
            log.info("adapters wanted: %s (list %s)", names or "none", found.hash)
        self.current = found

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            count = len(self.current.adapters)
            log.warning("%s: %s; the list of before stays, with %d adapters", self._path, trouble, count)
        self._trouble = trouble
