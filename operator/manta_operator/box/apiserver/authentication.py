"""Who asks: the holder of the box's token, who may do everything, or a ServiceAccount with a token of TokenRequest."""

import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from manta_operator.box.apiserver.errors import conflict, invalid_kind
from manta_operator.box.apiserver.resources import Registry
from manta_operator.box.apiserver.store import Store
from manta_operator.box.cluster import ApiError
from manta_operator.schema.errors import FieldError

AUTHENTICATED = "system:authenticated"
MASTERS = "system:masters"
_ACCOUNTS = "system:serviceaccounts"
_TABLE = ("", "serviceaccounts")
_DEFAULT_SECONDS, _SHORTEST_SECONDS = 3600, 600


@dataclass(frozen=True)
class User:
    """A name and the groups it is in."""

    name: str
    groups: tuple[str, ...]

    @property
    def is_master(self) -> bool:
        """Whether no rule is asked about this user."""
        return MASTERS in self.groups


@dataclass(frozen=True)
class _Issued:
    namespace: str
    name: str
    uid: str
    expires: float


class Tokens:
    """Knows every token that was given out; those of ServiceAccounts end with them, and after their time."""

    def __init__(self, admin_token: str, store: Store) -> None:
        self._admin = f"Bearer {admin_token}".encode()
        self._store = store
        self._issued: dict[str, _Issued] = {}

    def user(self, header: str) -> User | None:
        """Return whose Authorization header this is; None if nobody's."""
        if hmac.compare_digest(header.encode(), self._admin):
            return User("system:admin", (MASTERS, AUTHENTICATED))
        issued = self._issued.get(header.removeprefix("Bearer "))
        if issued is None or issued.expires < time.time():
            return None
        account = self._store.get(_TABLE, (issued.namespace, issued.name))
        if account is None or account["metadata"]["uid"] != issued.uid:
            return None
        return service_account(issued.namespace, issued.name)

    def issue(self, account: Mapping[str, Any], request: Any) -> dict[str, Any]:
        """Answer a TokenRequest for a ServiceAccount; ApiError 409 or 422."""
        spec = request.get("spec") if isinstance(request, dict) else None
        wanted = spec if isinstance(spec, dict) else {}
        seconds = wanted.get("expirationSeconds") or _DEFAULT_SECONDS
        if not isinstance(seconds, int) or seconds < _SHORTEST_SECONDS:
            why = "may not specify a duration less than 10 minutes"
            error = FieldError("spec.expirationSeconds", "Invalid value", why, str(seconds))
            raise invalid_kind("TokenRequest", "authentication.k8s.io", "", [error])
        meta = account["metadata"]
        uid = (request.get("metadata") or {}).get("uid") if isinstance(request, dict) else None
        if uid and uid != meta["uid"]:
            serviceaccounts = Registry().at("", "v1", "serviceaccounts")
            assert serviceaccounts is not None  # noqa: S101 - it is built in
            raise conflict(serviceaccounts, meta["name"])
        token = f"box-{secrets.token_urlsafe(32)}"
        self._issued[token] = _Issued(meta["namespace"], meta["name"], meta["uid"], time.time() + seconds)
        expires = datetime.fromtimestamp(time.time() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"], "creationTimestamp": None},
            "spec": {"audiences": [], **wanted, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": expires},
        }


def service_account(namespace: str, name: str) -> User:
    """Return a ServiceAccount as a user."""
    return User(f"system:serviceaccount:{namespace}:{name}", (_ACCOUNTS, f"{_ACCOUNTS}:{namespace}", AUTHENTICATED))


def impersonated(headers: Mapping[str, str], groups: list[str]) -> User | None:
    """Return whom a request says it is made for (`kubectl --as`); None if for nobody else. ApiError 400."""
    name = headers.get("Impersonate-User")
    if not name:
        if groups:
            raise ApiError(400, "BadRequest", "Impersonate-Group needs Impersonate-User")
        return None
    parts = name.split(":")
    if parts[:2] == ["system", "serviceaccount"] and len(parts) == 4 and not groups:
        return service_account(parts[2], parts[3])
    return User(name, (*groups, AUTHENTICATED))
