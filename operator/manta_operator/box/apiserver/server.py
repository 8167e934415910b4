"""The API server: listens, lets in who has a token and the right, hands requests to discovery, OpenAPI, handlers.py."""

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from manta_operator.box.addresses import AddressPool
from manta_operator.box.apiserver import discovery, openapi
from manta_operator.box.apiserver.authentication import Tokens, User, impersonated
from manta_operator.box.apiserver.authorization import CLUSTER_ADMIN, Attributes, Authorizer, forbidden
from manta_operator.box.apiserver.errors import status_of
from manta_operator.box.apiserver.handlers import Handlers
from manta_operator.box.apiserver.local import LocalCluster
from manta_operator.box.apiserver.logs import LogSource
from manta_operator.box.apiserver.operations import Operations
from manta_operator.box.apiserver.requests import USER, attributes_of, parse_target
from manta_operator.box.apiserver.resources import Registry
from manta_operator.box.apiserver.services import ServiceAddresses
from manta_operator.box.apiserver.store import Store
from manta_operator.box.cluster import ApiError, Cluster

_LARGEST_BODY = 8 * 1024 * 1024
_POD_TOKEN_SECONDS = 10 * 365 * 86400  # nobody renews them, and they end with the box
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_OPEN = frozenset({"/healthz", "/livez", "/readyz", "/version"})
_log = logging.getLogger(__name__)


class ApiServer:
    """One API server; `cluster` is its in-process face, usable before start and after stop."""

    cluster: Cluster

    def __init__(
        self, *, token: str, service_addresses: Iterator[str] | AddressPool, logs: LogSource | None = None
    ) -> None:
        self._store = Store()
        self._tokens = Tokens(token, self._store)
        self._authorizer = Authorizer(self._store)
        self._registry = Registry()
        self._openapi_documents = openapi.OpenApi(self._registry)
        self._operations = Operations(
            self._store, self._registry, ServiceAddresses(service_addresses), self._authorizer
        )
        self._handlers = Handlers(self._operations, logs, self._tokens)
        self._runner: web.AppRunner | None = None
        self.cluster = LocalCluster(self._operations)
        for name in _NAMESPACES:
            self.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.cluster.create(dict(CLUSTER_ADMIN))

    async def start(
        self, host: str, port: int, ssl_context: ssl.SSLContext | None, sock: socket.socket | None = None
    ) -> None:
        """Listen on host and port, or on a socket that already listens; OSError if the port is taken."""
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
        await self._runner.setup()
        site: web.BaseSite
        if sock is not None:
            site = web.SockSite(self._runner, sock, ssl_context=ssl_context)
        else:
            site = web.TCPSite(self._runner, host, port, ssl_context=ssl_context)
        await site.start()

    @property
    def port(self) -> int:
        """Where it listens; ValueError while it does not."""
        if self._runner is None or not self._runner.addresses:
            raise ValueError("the API server does not listen: start it first")
        return int(self._runner.addresses[0][1])

    def token_of(self, namespace: str, account: str) -> str:
        """Return a new token of a ServiceAccount, as its pods have; ApiError 404 if there is none."""
        found = self.cluster.get("ServiceAccount", namespace, account)
        request = {"spec": {"expirationSeconds": _POD_TOKEN_SECONDS}}
        return str(self._tokens.issue(found, request)["status"]["token"])

    async def stop(self) -> None:
        """End all watches and stop listening."""
        self._store.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._route(request)
        except ApiError as error:
            return web.json_response(status_of(error), status=error.code)
        except web.HTTPException as error:
            failure = ApiError(
                error.status, "".join(word.title() for word in error.reason.split()), error.text or error.reason
            )
            return web.json_response(status_of(failure), status=error.status)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - bad input must never take the server down
            _log.exception("%s %s failed", request.method, request.path)
            failure = ApiError(500, "InternalError", f"Internal error occurred: {type(error).__name__}: {error}")
            return web.json_response(status_of(failure), status=500)

    async def _route(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/") or "/"
        if path not in _OPEN:
            request[USER] = self._user(request)
            self._authorizer.check(request[USER], attributes_of(request))
        if path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        document = self._document(request, path) if request.method == "GET" else None
        if document is not None:
            return document
        target = parse_target(self._registry, request.path)
        if target is None:
            raise ApiError(404, "NotFound", f"the server could not find the requested resource: {request.path}")
        return await self._handlers.handle(request, target)

    def _user(self, request: web.Request) -> User:
        """Return who makes a request; ApiError 401, or 403 if it is made for somebody he may not stand for."""
        user = self._tokens.user(request.headers.get("Authorization", ""))
        if user is None:
            raise ApiError(401, "Unauthorized", "Unauthorized: send the bearer token of the box's kubeconfig")
        other = impersonated(request.headers, request.headers.getall("Impersonate-Group", []))
        if other is not None and not user.is_master:
            raise forbidden(user, Attributes("impersonate", resource="users", name=other.name))
        return other or user

    def _document(self, request: web.Request, path: str) -> web.Response | None:
        registry, accept = self._registry, request.headers.get("Accept", "")
        parts = path.strip("/").split("/")
        found: dict[str, Any] | None = None
        if path == "/version":
            found = discovery.version()
        elif path in ("/api", "/apis"):
            if discovery.wants_aggregated(accept):
                body = discovery.aggregated(registry, core=path == "/api")
                return web.Response(text=json.dumps(body), headers={"Content-Type": discovery.AGGREGATED})
            found = discovery.api_versions() if path == "/api" else discovery.group_list(registry)
        elif parts[0] == "openapi":
            return self._openapi(request, path, parts)
        elif parts[0] == "api" and len(parts) == 2:
            found = discovery.resource_list(registry, "", parts[1])
        elif parts[0] == "apis" and len(parts) in (2, 3):
            found = (
                discovery.group(registry, parts[1])
                if len(parts) == 2
                else discovery.resource_list(registry, *parts[1:])
            )
        return None if found is None else web.json_response(found)

    def _openapi(self, request: web.Request, path: str, parts: list[str]) -> web.Response | None:
        accept = request.headers.get("Accept", "")
        if path == "/openapi/v3":
            return web.json_response(self._openapi_documents.index())
        if path == "/openapi/v2":
            # kubectl asks for protobuf alone and reads JSON as garbage: 406 tells it to go on without.
            if not any(kind in accept for kind in ("application/json", "*/*")) and accept:
                return web.Response(status=406, text="only application/json is served here")
            return web.json_response(self._openapi_documents.v2())
        if parts[1] != "v3" or (len(parts), *parts[2:3]) not in ((4, "api"), (5, "apis")):
            return None
        group = "" if parts[2] == "api" else parts[3]
        found = self._openapi_documents.v3(group, parts[-1])
        if found is None:
            return None
        tag = f'"{self._openapi_documents.hash(group, parts[-1])}"'
        # The index names the document by its hash, so what a hash stands for never changes.
        lasting = request.query.get("hash") == tag.strip('"')
        headers = {"ETag": tag, "Cache-Control": "public, immutable, max-age=31536000" if lasting else "no-cache"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.json_response(found, headers=headers)
