"""What `manta-runtime fetch` was told: parsed once from the command line, checked, frozen.

First in the flow: command.py parses → this module checks → fetch.py acts on it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_SCHEMES = ("hf", "s3", "gs")


class FetchSettingsError(ValueError):
    """The command was called with something it cannot work with; the message says what to do."""


@dataclass(frozen=True)
class ModelUri:
    """A source: `name` is the repository of a hub or a bucket, `prefix` the folder in the bucket ("" for all of it)."""

    scheme: str
    name: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}" + (f"/{self.prefix}" if self.prefix else "")


@dataclass(frozen=True)
class Asked:
    """Where people have asked for a fetch, for the messages to them.

    `field` of the spec: what has the uri; `secret`: the name of the Secret where it is known, "" where it is not.
    """

    field: str = "spec.model"
    secret: str = ""

    @property
    def whose(self) -> str:
        """The Secret in words."""
        return f"Secret {self.secret}" if self.secret else f"the Secret named by {self.field}.credentialsSecret"


@dataclass(frozen=True)
class FetchSettings:
    """The arguments of `manta-runtime fetch`; `retry_seconds` without a byte end it, `chunk` is in bytes.

    `control_port` 0: nothing is told over HTTP. `adapter`: only an adapter will do. `told`: a file that is told the
    progress and the end (adapters_told.py).
    """

    uri: ModelUri
    revision: str
    to: Path
    pod_ip: str
    control_port: int
    holder: str
    retry_seconds: float = 600
    parallel: int = 8
    chunk: int = 16 * 1024 * 1024
    log_seconds: float = 10
    adapter: bool = False
    told: Path | None = None
    asked: Asked = Asked()


def parse_uri(text: str) -> ModelUri:
    """Read `hf://org/name`, `s3://bucket/prefix` or `gs://bucket/prefix`.

    Raises FetchSettingsError with the form that is expected.
    """
    scheme, found, rest = text.partition("://")
    if not found or scheme not in _SCHEMES:
        raise FetchSettingsError(f"--uri={text}: expected hf://org/name, s3://bucket/prefix or gs://bucket/prefix")
    if scheme == "hf":
        if not _REPOSITORY.fullmatch(rest) or ".." in rest:
            raise FetchSettingsError(f"--uri={text}: expected hf://org/name; the revision goes to --revision")
        return ModelUri(scheme, rest)
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not _BUCKET.fullmatch(bucket):
        raise FetchSettingsError(f"--uri={text}: {bucket!r} is not the name of a bucket")
    if prefix and any(part in ("", ".", "..") for part in prefix.split("/")):
        raise FetchSettingsError(f"--uri={text}: the prefix must not contain empty parts, '.' or '..'")
    return ModelUri(scheme, bucket, prefix)


def check_address(pod_ip: str) -> None:
    """Refuse an address that is not one of this pod.

    Raises FetchSettingsError for names and for 0.0.0.0 and ::.
    """
    try:
        address = ipaddress.ip_address(pod_ip)
    except ValueError as error:
        raise FetchSettingsError(f"--pod-ip={pod_ip}: not an IP address") from error
    if address.is_unspecified:
        raise FetchSettingsError(f"--pod-ip={pod_ip}: give the pod's own address, not all of them")


def check_target(to: Path) -> None:
    """Refuse a target that the fetch could not rename into place.

    Raises FetchSettingsError when `to` is relative, a root, or hidden (hidden names are the fetch's own).
    """
    if not to.is_absolute() or to.parent == to or ".." in to.parts:
        raise FetchSettingsError(f"--to={to}: give an absolute path below the cache, such as /mnt/cache/models/KEY")
    if to.name.startswith("."):
        raise FetchSettingsError(f"--to={to}: names with a leading dot are kept for the fetch itself")
