"""Keeps the authority of this process among those that API servers trust for the webhook: its caBundle.

Each replica of the operator has an authority of its own, and adds it to the list; none of them owns the list. A write
names the version it read (a JSON patch with a test), so that no replica takes away what another has just added. Whoever
finds itself missing, after a `helm upgrade` or for whatever reason, adds itself again.
"""

import base64
import binascii
import json
import re

import aiohttp

from manta_operator.controller.errors import InvalidObject
from manta_operator.controller.requests import Object, request

KIND = "ValidatingWebhookConfiguration"
MOST = 16
"""Authorities that are kept, the newest: pods come and go, and nobody tells whose pod has gone."""
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?")
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_PATCH = {"Content-Type": "application/json-patch+json"}


def with_authority(bundle: str, authority: str, gone: frozenset[str] = frozenset()) -> str:
    """Return a caBundle that has the authority in it.

    Args:
        bundle: As it stands, base64 of PEM; what cannot be read is replaced.
        authority: PEM of one certificate; one that is there already stays where it is.
        gone: Authorities whose certificates nobody shows any more.
    """
    try:
        text = base64.b64decode(bundle, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    left = {block.strip() for block in gone} - {authority.strip()}
    blocks = [block.strip() for block in _BLOCK.findall(text) if block.strip() not in left]
    if authority.strip() not in blocks:
        blocks.append(authority.strip())
    return base64.b64encode("".join(f"{block}\n" for block in blocks[-MOST:]).encode()).decode()


def changes(configuration: Object, authority: str, gone: frozenset[str] = frozenset()) -> list[Object]:
    """Return the JSON patch that makes every webhook of a configuration trust the authority; empty if they do."""
    found: list[Object] = []
    for number, webhook in enumerate(configuration.get("webhooks") or ()):
        before = (webhook.get("clientConfig") or {}).get("caBundle") or ""
        after = with_authority(before, authority, gone)
        if after != before:
            found.append({"op": "add", "path": f"/webhooks/{number}/clientConfig/caBundle", "value": after})
    version = configuration["metadata"].get("resourceVersion")
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": version}, *found] if found else []


class Bundle:
    """The caBundle of one ValidatingWebhookConfiguration on the API server."""

    def __init__(self, session: aiohttp.ClientSession, server: str, name: str) -> None:
        self._session, self._name = session, name
        self._url = f"{server}/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{name}"

    async def trust(self, authority: str, gone: frozenset[str] = frozenset()) -> None:
        """See to it that the authority is in it. Raises ClusterError: it is not certain that it is."""
        configuration = await self._request("GET", "get")
        if not configuration.get("webhooks"):
            raise InvalidObject(f"{KIND} {self._name} has no webhook")
        if patch := changes(configuration, authority, gone):
            await self._request("PATCH", "patch", patch)

    async def _request(self, method: str, verb: str, body: list[Object] | None = None) -> Object:
        given = {} if body is None else {"data": json.dumps(body), "headers": _PATCH}
        return await request(self._session, method, self._url, verb, KIND, self._name, timeout=_TIMEOUT, **given)
