"""Who asks: API keys, from a mounted Secret, as SHA-256 digests; a request's key gives its tenant or a refusal.

Each file of the folder is a tenant's name, its lines are `sha256:<64 hex digits>` (`key_files.py`). A key is looked up
by the first half of its digest and the whole digest compared in constant time. The look-up itself tells nothing by
the time it takes: whoever asks does not choose digests, only keys, so what could be learned is which digests *their*
guesses have, and with 256 random bits in a key no digest leads back to one.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path

from manta_runtime.router.picker import key_files
from manta_runtime.router.picker.reloading import Stamp, stamp

log = logging.getLogger(__name__)

LONGEST_KEY = 1024
"""Bytes; nothing longer is worth hashing."""
_PREFIX = 16
_AUTHORIZATION, _API_KEY = b"authorization", b"x-api-key"

_NOBODY = (bytes(hashlib.sha256().digest_size), None)


@dataclass(frozen=True, slots=True)
class Denial:
    """Why nobody could be made out (401); `headers` go with the answer."""

    text: str
    status: int = 401
    kind: str = "invalid_request_error"
    code: str = "invalid_api_key"
    headers: tuple[tuple[str, str], ...] = (("www-authenticate", "Bearer"),)


MISSING = Denial("no API key: send one as 'Authorization: Bearer KEY' or 'x-api-key: KEY'")
"""Envoy says it, too (`routes.py`)."""
_MALFORMED = Denial("the Authorization header is not 'Bearer KEY'; send one key, without spaces in it")
_TWO_KEYS = Denial("Authorization and x-api-key hold different keys; send one of them")
_WRONG = Denial("the API key is not valid; it may be mistyped or revoked")
_NO_KEYS = Denial("the API key is not valid: no keys are set up here; whoever runs this server finds why in its log")


class Keyring:
    """The keys as last read. `loaded`: how many; none lets nobody in. `problems`: what was wrong in the files."""

    def __init__(self) -> None:
        self._tenants: dict[bytes, tuple[bytes, str | None]] = {}
        self._seen: Stamp | None = None
        self.loaded = 0
        self.problems: tuple[str, ...] = ()

    def refresh(self, folder: Path) -> bool:
        """Reload if the folder is not as at the last call; return whether it was not. Never raises."""
        seen = stamp(folder)
        if seen == self._seen:
            return False
        self._seen = seen
        self.reload(folder)
        return True

    def reload(self, folder: Path) -> None:
        """Read the folder; what is wrong in it is logged by file and line, and the rest counts. Never raises."""
        found = key_files.read(folder)
        self._tenants = {digest[:_PREFIX]: (digest, tenant) for digest, tenant in found.tenants.items()}
        self.loaded, self.problems = len(found.tenants), found.problems
        for problem in found.problems:
            log.error("%s", problem)
        if self.loaded:
            log.info("%s: %d keys of %d tenants", folder, self.loaded, len(set(found.tenants.values())))
        else:
            log.error(
                "%s holds no usable key: every request is refused with 401 until it does; "
                "make one with `manta keys create TENANT --write`",
                folder,
            )

    def tenant_of(self, headers: Mapping[bytes, bytes]) -> str | None:
        """The tenant whose key the headers (lower-case names) hold; None: refuse with what `denial` returns."""
        key = _key_in(headers)
        if isinstance(key, Denial) or len(key) > LONGEST_KEY:
            return None
        digest = hashlib.sha256(key).digest()
        known, tenant = self._tenants.get(digest[:_PREFIX], _NOBODY)
        return tenant if compare_digest(known, digest) else None

    def denial(self, headers: Mapping[bytes, bytes]) -> Denial:
        """Why `tenant_of` returned None."""
        key = _key_in(headers)
        if isinstance(key, Denial):
            return key
        return _WRONG if self.loaded else _NO_KEYS


def _key_in(headers: Mapping[bytes, bytes]) -> bytes | Denial:
    """The one key; an empty one counts as none."""
    given, api_key = headers.get(_AUTHORIZATION), headers.get(_API_KEY, b"").strip()
    if given is None:
        return api_key or MISSING
    words = given.split()
    if len(words) == 2 and words[0].lower() == b"bearer":
        if api_key and not compare_digest(words[1], api_key):
            return _TWO_KEYS
        return words[1]
    if not words or (len(words) == 1 and words[0].lower() == b"bearer"):
        return api_key or MISSING
    return _MALFORMED
