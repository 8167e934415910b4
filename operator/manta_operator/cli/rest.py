"""The command line's way to an API server: one request at a time, by path, without discovery.

`controller/client.py` discovers every API group first, which a person who asks one question should not wait for; here
the kinds are few and their paths known. Credentials and TLS are the `kubernetes` package's, as there.
"""

import base64
import json
import logging
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_kube_config_from_dict

from manta_operator.cli.kubeconfig import NoCluster, Object, Target

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
TIMEOUT_SECONDS = 30.0
CONNECT_SECONDS = 10.0
PAGE = 500
"""Objects that are listed at once."""
_CREDENTIALS_LOG = "kubernetes.aio.config.kube_config"


class CallFailed(Exception):
    """An answer that is no success; `code` is None where nobody answered."""

    def __init__(self, code: int | None, reason: str, message: str, what: str) -> None:
        super().__init__(f"{what}: {message}")
        self.code, self.reason, self.message, self.what = code, reason, message, what


class Api:
    """One API server, as one user."""

    def __init__(self, configuration: Any, rest: Any) -> None:
        self._configuration, self._rest = configuration, rest

    async def call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None, kind: str | None = None
    ) -> Object:
        """Send one request and return the answer's object; CallFailed for any other answer than success.

        Args:
            method: The verb.
            path: From `path_of`.
            query: Parameters.
            body: Sent as JSON.
            kind: Content type of the body, JSON by default.
        """
        async with self.stream(method, path, query, body, kind, TIMEOUT_SECONDS) as response:
            try:
                answer: Object = await response.json(content_type=None)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                raise CallFailed(None, "", words(error), f"{method} {path}") from error
            return answer

    async def find(self, api_version: str, kind: str, namespace: str | None, name: str) -> Object | None:
        """Read one object; None if there is none of that name. Raises CallFailed."""
        try:
            return await self.call("GET", path_of(api_version, kind, namespace, name))
        except CallFailed as error:
            if error.code == 404 and not unknown_kind(error):
                return None
            raise

    async def list(
        self, api_version: str, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """List the objects of a kind, in one namespace or (None) in all, page by page. Raises CallFailed."""
        found: list[Object] = []
        query = {"limit": str(PAGE), "labelSelector": labels, "fieldSelector": fields, "continue": ""}
        while True:
            sent = {key: value for key, value in query.items() if value}
            page = await self.call("GET", path_of(api_version, kind, namespace), sent)
            found += [{"apiVersion": api_version, "kind": kind} | item for item in page.get("items") or ()]
            query["continue"] = (page.get("metadata") or {}).get("continue") or ""
            if not query["continue"]:
                return found

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        kind: str | None = None,
        seconds: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request and hand out the answer to be read as it comes; it may take for ever without `seconds`."""
        what = f"{method} {path}"
        url = f"{self._configuration.host}{path}{f'?{urlencode(query)}' if query else ''}"
        headers = {"Accept": "*/*", "Content-Type": kind or "application/json"}
        for setting in (await self._configuration.auth_settings()).values():
            headers[setting["key"]] = setting["value"]
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        try:
            answer = await self._rest.request(method, url, headers=headers, body=body, _request_timeout=timeout)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise CallFailed(None, "", words(error), what) from error
        async with answer.response as response:
            if response.status >= 400:
                raise await _failure(response, what)
            yield response


def path_of(api_version: str, kind: str, namespace: str | None, name: str = "", subresource: str = "") -> str:
    """Return the URL path of an object, or without a name of its kind."""
    plural = kind.lower()[:-1] + "ies" if kind.endswith("y") else kind.lower() + "s"
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    rest = [quote(part, safe=safe) for part, safe in ((name, ":"), (subresource, "/")) if part]
    return "/".join([f"{root}{place}", plural, *rest])


def unknown_kind(error: CallFailed) -> bool:
    """Whether a 404 is about the kind, which this API server does not serve, and not about one object.

    Of a group that it does not serve at all it knows only a path: the answer is no Status and has no reason.
    """
    return error.code == 404 and (not error.reason or "could not find the requested resource" in error.message)


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Api]:
    """Connect to a cluster. Raises NoCluster where the credentials cannot be had."""
    with tempfile.TemporaryDirectory(prefix="manta-") as scratch:
        configuration = Configuration()
        await _load(configuration, _materialised(target.kubeconfig, Path(scratch)))
        try:
            rest = RESTClientObject(configuration)
        except OSError as error:  # ssl.SSLError is one
            raise NoCluster(f"{target.title}: its certificates cannot be used: {words(error)}") from error
        try:
            yield Api(configuration, rest)
        finally:
            await rest.close()


async def _load(configuration: Any, kubeconfig: Object) -> None:
    """Fill the configuration. The library only logs why a credential plugin failed, and goes on as nobody."""
    complaints: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: complaints.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(_CREDENTIALS_LOG)
    logger.addHandler(handler)
    try:
        await load_kube_config_from_dict(kubeconfig, client_configuration=configuration)
    except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        raise NoCluster(f"the kubeconfig's credentials cannot be used: {words(error)}") from error
    finally:
        logger.removeHandler(handler)
    if complaints:
        raise NoCluster(f"the credential plugin of the kubeconfig failed: {complaints[0]}; log in again")


def _materialised(kubeconfig: Mapping[str, Any], scratch: Path) -> Object:
    """Write certificates given as data to files of ours: the library would leave its own behind when killed."""
    result: Object = json.loads(json.dumps(kubeconfig))
    entries: Iterable[Object] = (result["clusters"][0]["cluster"], result["users"][0]["user"])
    for entry in entries:
        for key in ("certificate-authority", "client-certificate", "client-key"):
            if data := entry.pop(f"{key}-data", None):
                path = scratch / key
                path.touch(mode=0o600)
                try:
                    path.write_bytes(base64.b64decode(data, validate=True))
                except ValueError as error:
                    raise NoCluster(f"the kubeconfig's {key}-data is no base64") from error
                entry[key] = str(path)
    return result


async def _failure(response: aiohttp.ClientResponse, what: str) -> CallFailed:
    text = await response.text(errors="replace")
    try:
        status = json.loads(text)
        message, reason = str(status["message"]), str(status.get("reason") or "")
    except (ValueError, KeyError, TypeError):
        message, reason = text.strip()[:300] or str(response.reason), ""
    return CallFailed(response.status, reason, message, what)


def words(error: BaseException) -> str:
    """Return why nobody could be reached, without what only a programmer wants to read."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    cause = error.__cause__ if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {cause.verify_message}"
    if isinstance(cause, OSError) and not isinstance(cause, socket.gaierror | ssl.SSLError) and cause.errno:
        return os.strerror(cause.errno)
    return str(getattr(cause, "strerror", None) or cause) or type(error).__name__
