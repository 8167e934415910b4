"""API keys as a Secret holds them: an entry for each tenant, a line `sha256:<64 hex digits>` for each key. Pure.

Routers read the same lines from the mounted Secret. A key itself is in no object: whoever reads the Secret cannot use
what is in it.
"""

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from manta_operator.api.fields import TENANT_PATTERN
from manta_operator.cli.kubeconfig import Object

PREFIX = "manta-"
"""What a key begins with, so that people and scanners for leaked secrets know one when they see it."""
RANDOM_BYTES = 32
FINGERPRINT = 12
"""Hex digits of the digest by which people name a key."""
SHORTEST_FINGERPRINT = 8
LONGEST_KEY = 1024
"""Characters; routers do not look at longer ones."""
SHORTEST_KEY = 32
"""Characters; a shorter one is easily guessed from its hash."""
_LONGEST_TENANT = 63
_ANONYMOUS = "anonymous"
_LINE = re.compile(r"sha256:([0-9a-fA-F]{64})(?:\s+#\s*(.*))?")


@dataclass(frozen=True)
class Key:
    """One key of a tenant, as far as anybody but its owner knows it."""

    tenant: str
    digest: str
    note: str = ""

    @property
    def fingerprint(self) -> str:
        """The short name of it."""
        return self.digest[:FINGERPRINT]


def new_key() -> str:
    """Return a new random key, 256 bits."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def digest_of(key: str) -> str:
    """Return the SHA-256 digest in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def line_of(key: Key) -> str:
    """Return the line of an entry, with its line end."""
    note = " ".join(key.note.split())
    return f"sha256:{key.digest}{f' # {note}' if note else ''}\n"


def name_problem(tenant: str) -> str:
    """Say what is wrong with a tenant's name; empty if nothing is."""
    if tenant == _ANONYMOUS:
        return f"{tenant} is everybody where no keys are asked for: choose another name"
    if len(tenant) > _LONGEST_TENANT or not re.search(TENANT_PATTERN, tenant):
        return (
            f"{tenant!r} is no name of a tenant: use up to {_LONGEST_TENANT} letters, digits, and between them "
            "'-', '.' and '_'"
        )
    return ""


def texts(secret: Object) -> dict[str, str]:
    """Return the entries by tenant. Raises ValueError if one is no text."""
    found = {}
    for name, value in (secret.get("data") or {}).items():
        try:
            found[name] = base64.b64decode(value or "", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ValueError(f"entry {name} is no text") from error
    return found


def keys_in(secret: Object) -> list[Key]:
    """Return the keys, by tenant and in their order. Raises ValueError if an entry is no text."""
    return [key for tenant, text in sorted(texts(secret).items()) for key in _keys(tenant, text)]


def strange_entries(secret: Object) -> list[str]:
    """Return the entries in which something is neither a key's line nor a comment: the Secret may be another one."""
    return [
        tenant for tenant, text in sorted(texts(secret).items()) if any(_strange(each) for each in text.split("\n"))
    ]


def with_key(text: str, key: Key) -> str:
    """Return the entry with the key's line at its end; all that is there stays."""
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{line_of(key)}"


def without_key(text: str, digest: str) -> str:
    """Return the entry without the lines of the key; all else stays."""
    return "".join(line for line in text.splitlines(keepends=True) if _digest(line) != digest)


def manifest(name: str, namespace: str | None, field: str, entries: Mapping[str, str | None]) -> Object:
    """Return a Secret with the entries in `data` (see `encoded`), or for people in `stringData`."""
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, **place},
        "type": "Opaque",
        field: dict(entries),
    }


def encoded(entries: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return entries as a Secret's data; None, which removes one, stays None."""
    return {name: None if text is None else base64.b64encode(text.encode()).decode() for name, text in entries.items()}


def _keys(tenant: str, text: str) -> Iterator[Key]:
    for line in text.split("\n"):
        if found := _LINE.fullmatch(line.strip()):
            yield Key(tenant, found[1].lower(), found[2] or "")


def _digest(line: str) -> str:
    found = _LINE.fullmatch(line.strip())
    return found[1].lower() if found else ""


def _strange(line: str) -> bool:
    bare = line.strip()
    return bool(bare) and not bare.startswith("#") and not _LINE.fullmatch(bare)
