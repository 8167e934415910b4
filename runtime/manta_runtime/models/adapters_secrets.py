"""The environment of one adapter's fetch: the pod's, the address and region it asks for, and its own Secret alone.

Called by adapters_run.py. Secrets are folders with a file for each key, as kubelets mount them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from manta_runtime.models.adapters_list import WantedAdapter

_KEYS = {
    "hf": ("HF_TOKEN",),
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
}
_ADDRESS = {"hf": "HF_ENDPOINT", "s3": "AWS_ENDPOINT_URL", "gs": "GOOGLE_BASE_URL"}
_MOST_BYTES = 64 * 1024


class NoCredentialsError(Exception):
    """A Secret is not there, or has no key that is of use, or no text; the message says what to do."""


def environment_of(adapter: WantedAdapter, environ: Mapping[str, str], secrets: Path) -> dict[str, str]:
    """Return the environment of a fetch. Raises NoCredentialsError."""
    scheme = adapter.uri.partition("://")[0]
    known = {key for keys in _KEYS.values() for key in keys}
    found = {name: value for name, value in environ.items() if name not in known}
    if adapter.endpoint and scheme in _ADDRESS:
        found[_ADDRESS[scheme]] = adapter.endpoint
    if adapter.region:
        found["AWS_REGION"] = adapter.region
    if adapter.secret:
        found |= _read(adapter, secrets / adapter.secret, _KEYS.get(scheme, ()))
    return found


def _read(adapter: WantedAdapter, folder: Path, keys: tuple[str, ...]) -> dict[str, str]:
    found = {key: text for key in keys if (text := _text(folder / key))}
    if not found:
        raise NoCredentialsError(
            f"Secret {adapter.secret}, which is to fetch {adapter.uri}, is not in this pod, or has no key "
            f"{' nor '.join(keys)}: make it, or wait for the rollout that mounts it"
        )
    for key, text in found.items():
        if "\0" in text:
            raise NoCredentialsError(
                f"the key {key} of Secret {adapter.secret}, which is to fetch {adapter.uri}, has a NUL byte, so it is "
                "no text: make the Secret anew"
            )
    return found


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MOST_BYTES).strip()
    except (OSError, UnicodeDecodeError):
        return ""
