"""Answers requests for objects: verb and URL to operations.py, results back as objects, lists, tables or watches."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from aiohttp import web

from manta_operator.box.apiserver import kinds, patches, watch, webhooks
from manta_operator.box.apiserver.authentication import Tokens
from manta_operator.box.apiserver.errors import bad_request, filled, invalid_kind
from manta_operator.box.apiserver.logs import LogSource, serve_log
from manta_operator.box.apiserver.operations import Operations, table_of
from manta_operator.box.apiserver.requests import (
    USER,
    Target,
    attributes_of,
    body_of,
    flag,
    matcher,
    next_page,
    read_page,
    whole,
    write_options,
)
from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.apiserver.reviews import review
from manta_operator.box.apiserver.scale import scale_of, with_scale
from manta_operator.box.apiserver.tables import table
from manta_operator.box.apiserver.writes import Write
from manta_operator.box.cluster import ApiError
from manta_operator.schema.errors import FieldError
from manta_operator.schema.json_copy import json_copy

Object = dict[str, Any]


class Handlers:
    """One method a verb."""

    def __init__(self, operations: Operations, logs: LogSource | None, tokens: Tokens) -> None:
        self._ops = operations
        self._tokens = tokens
        self._logs = logs

    async def handle(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Answer a request for objects; ApiError for every other answer than success."""
        if target.name is None:
            verbs = {"GET": self._list, "POST": self._create, "DELETE": self._delete_all}
        elif target.subresource in ("", "status", "scale", "finalize"):
            verbs = {"GET": self._get, "PUT": self._put, "PATCH": self._patch, "DELETE": self._delete}
        else:
            verbs = {"GET": self._log} if target.subresource == "log" else {"POST": self._evict}
            verbs = {"POST": self._token} if target.subresource == "token" else verbs
        self._check_subresource(target)
        verb = verbs.get(request.method)
        if verb is None:
            raise ApiError(405, "MethodNotAllowed", f"{request.method} is not possible here: use {', '.join(verbs)}")
        return await verb(request, target)

    def _check_subresource(self, target: Target) -> None:
        resource = target.resource
        offered = {"": True, "status": resource.status, "scale": resource.scale is not None, "log": resource.log}
        offered |= {"eviction": resource.eviction, "finalize": resource.kind == "Namespace", "token": resource.token}
        if not offered.get(target.subresource):
            raise ApiError(404, "NotFound", f'{resource.plural} have no subresource "{target.subresource}"')

    async def _get(self, request: web.Request, target: Target) -> web.StreamResponse:
        if flag(request.query, "watch"):
            return await self._list(request, target)
        obj = self._ops.read(target.resource, target.namespace, target.name or "")
        return self._answer(request, target, obj)

    def _answer(self, request: web.Request, target: Target, obj: Object, code: int = 200) -> web.Response:
        if target.subresource == "scale":
            return web.json_response(scale_of(target.resource, obj), status=code)
        return web.json_response(_rendering(request, target)([obj], {}, single=True), status=code)

    def _written(self, request: web.Request, target: Target, obj: Object, how: Write, code: int = 200) -> web.Response:
        answer = self._answer(request, target, obj, code)
        for warning in how.warnings:
            text = "".join(letter if letter.isprintable() else "?" for letter in warning)
            answer.headers.add("Warning", '299 - "' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
        return answer

    async def _list(self, request: web.Request, target: Target) -> web.StreamResponse:
        query, resource = request.query, target.resource
        matches = matcher(resource, query, target.name)
        render = _rendering(request, target)
        version = whole(query, "resourceVersion")
        if flag(query, "watch"):
            initial = flag(query, "sendInitialEvents")
            wanted = watch.WatchRequest(
                resource,
                target.namespace,
                matches,
                None if initial or not version else version,
                initial,
                flag(query, "allowWatchBookmarks"),
                whole(query, "timeoutSeconds"),
                lambda obj: render([obj], {}, single=True),
            )
            return await watch.serve(self._ops, wanted, request)
        stored = sorted(self._ops.store.objects(table_of(resource), target.namespace), key=lambda pair: pair[0])
        found = [(key, obj) for key, obj in stored if matches(obj)]
        meta: Object = {"resourceVersion": str(self._ops.store.version)}
        if query.get("continue"):
            _, after = read_page(query["continue"])
            found = [(key, obj) for key, obj in found if key > after]
        limit = whole(query, "limit")
        if limit and len(found) > limit:
            meta |= {"continue": next_page(self._ops.store.version, found[limit - 1][0])}
            meta |= {"remainingItemCount": len(found) - limit}
            found = found[:limit]
        items = [self._ops.as_version(resource, obj) for _, obj in found]
        return web.json_response(render(items, meta, single=False))

    async def _create(self, request: web.Request, target: Target) -> web.StreamResponse:
        body = await body_of(request)
        if target.resource.verbs == ("create",):
            return web.json_response(review(self._ops.authorizer, request[USER], target.resource, body), status=201)
        how = write_options(request, "")
        body = {} if body is None and request.body_exists else body  # `null` is an empty object to Go
        made = await self._asked(
            request, target, how, lambda how: self._ops.create(target.resource, target.namespace, body, how)
        )
        return self._written(request, target, made, how, 201)

    async def _asked(
        self, request: web.Request, target: Target, how: Write, write: Callable[[Write], Object]
    ) -> Object:
        """Write what admission webhooks, if there are any for it, do not refuse: they see what would be stored."""
        old = self._ops.find(target.resource, target.namespace, target.name) if target.name else None
        operation: Literal["CREATE", "UPDATE"] = "UPDATE" if old is not None else "CREATE"
        store = self._ops.store
        if not target.subresource and (hooks := webhooks.matching(store, target.resource, operation, target.namespace)):
            new = write(replace(how, dry_run=True, warnings=[]))
            attempt = webhooks.Attempt(target.resource, operation, new, old, request[USER], how.dry_run)
            how.warnings.extend(await webhooks.ask(store, hooks, attempt))
        return write(how)

    async def _put(self, request: web.Request, target: Target) -> web.StreamResponse:
        body, name = await body_of(request), target.name or ""
        how = write_options(request, target.recorded)
        if target.subresource == "scale":
            body = with_scale(target.resource, self._ops.read(target.resource, target.namespace, name), body or {})
        elif target.resource.crd is not None:
            self._check_conditional(target, body)
        made = await self._asked(
            request, target, how, lambda how: self._ops.update(target.resource, target.namespace, name, body, how)
        )
        return self._written(request, target, made, how)

    def _check_conditional(self, target: Target, body: Any) -> None:
        """A custom object is replaced only by who says which version of it; ApiError 404 or 422."""
        resource, name = target.resource, target.name or ""
        meta = body.get("metadata") if isinstance(body, dict) else None
        self._ops.read(resource, target.namespace, name)
        if isinstance(meta, dict) and not meta.get("resourceVersion"):
            error = FieldError("metadata.resourceVersion", "Invalid value", "must be specified for an update", "0")
            raise invalid_kind(resource.plural, resource.group, name, [error])

    async def _patch(self, request: web.Request, target: Target) -> web.StreamResponse:
        body, name, resource = await body_of_patch(request), target.name or "", target.resource
        how = replace(write_options(request, target.recorded), patch=True)
        if request.content_type in patches.APPLY:
            return await self._apply(request, target, body, how)
        old = self._ops.read(resource, target.namespace, name)
        node, custom = kinds.root(resource), resource.crd is not None
        if target.subresource == "scale":
            scale = patches.patched(request.content_type, {}, scale_of(resource, old), body, custom=custom)
            new = with_scale(resource, old, scale)
        else:
            new = patches.patched(request.content_type, node, json_copy(old), body, custom=custom)
        made = await self._asked(
            request, target, how, lambda how: self._ops.update(resource, target.namespace, name, new, how)
        )
        return self._written(request, target, made, how)

    async def _apply(self, request: web.Request, target: Target, body: Any, how: Write) -> web.Response:
        if "fieldManager" not in request.query:
            error = FieldError("fieldManager", "Required value", "is required for apply patch")
            raise invalid_kind("PatchOptions", "meta.k8s.io", "", [error])
        check_type(target.resource, body)
        asked = attributes_of(request)
        if not target.subresource and self._ops.find(target.resource, target.namespace, target.name or "") is None:
            # Who may patch may not yet create.
            self._ops.authorizer.check(request[USER], replace(asked, verb="create"))
        new = self._ops.find(target.resource, target.namespace, target.name or "") is None
        obj = await self._asked(
            request, target, how,
            lambda how: self._ops.apply(target.resource, target.namespace, target.name or "", body, how)[0],
        )  # fmt: skip
        return self._written(request, target, obj, how, 201 if new else 200)

    async def _delete(self, request: web.Request, target: Target) -> web.StreamResponse:
        options, dry_run = await self._delete_options(request)
        resource, name = target.resource, target.name or ""
        left = self._ops.deletion.delete(resource, target.namespace, name, options, dry_run=dry_run)
        key = self._ops.key(resource, target.namespace, name)
        if self._ops.store.get(table_of(resource), key) is not None:
            return self._answer(request, target, left)
        details = filled(
            {"name": name, "group": resource.group, "kind": resource.plural, "uid": left["metadata"]["uid"]}
        )
        done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return web.json_response(done)

    async def _delete_all(self, request: web.Request, target: Target) -> web.StreamResponse:
        options, dry_run = await self._delete_options(request)
        matches = matcher(target.resource, request.query)
        doomed = [p for p in self._ops.store.objects(table_of(target.resource), target.namespace) if matches(p[1])]
        for (namespace, name), _ in doomed:
            self._ops.deletion.delete(target.resource, namespace or None, name, options, dry_run=dry_run)
        meta: Object = {"resourceVersion": str(self._ops.store.version)}
        return web.json_response(_rendering(request, target)([obj for _, obj in doomed], meta, single=False))

    async def _delete_options(self, request: web.Request) -> tuple[Object, bool]:
        body = await body_of(request) or {}
        if not isinstance(body, dict):
            raise bad_request("DeleteOptions must be an object")
        options = dict(body)
        grace = whole(request.query, "gracePeriodSeconds")
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if request.query.get("propagationPolicy"):
            options["propagationPolicy"] = request.query["propagationPolicy"]
        if not isinstance(options.get("gracePeriodSeconds", 0), int | None):
            raise bad_request("gracePeriodSeconds must be a number")
        return options, bool(options.get("dryRun")) or "dryRun" in request.query

    async def _log(self, request: web.Request, target: Target) -> web.StreamResponse:
        pod = self._ops.read(target.resource, target.namespace, target.name or "")
        return await serve_log(request, pod, self._logs)

    async def _token(self, request: web.Request, target: Target) -> web.StreamResponse:
        account = self._ops.read(target.resource, target.namespace, target.name or "")
        return web.json_response(self._tokens.issue(account, await body_of(request)), status=201)

    async def _evict(self, request: web.Request, target: Target) -> web.StreamResponse:
        body = await body_of(request) or {}
        options = body.get("deleteOptions") or {} if isinstance(body, dict) else {}
        self._ops.deletion.delete(target.resource, target.namespace, target.name or "", options)
        return web.json_response(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, status=201
        )


async def body_of_patch(request: web.Request) -> Any:
    """Return the body of a patch; ApiError 400 if there is none."""
    body = await body_of(request)
    if body is None:
        raise bad_request("the patch is empty")
    return body


def check_type(resource: Resource, body: Any) -> None:
    """What is applied must say what it is; ApiError 400."""
    given = body if isinstance(body, dict) else {}
    group, _, version = str(given.get("apiVersion") or "").rpartition("/")
    kind = given.get("kind") or ""
    if (group, version, kind) != (resource.group, resource.version, resource.kind):
        raise bad_request(f"invalid object type: {group}/{version}, Kind={kind}")


class _Rendering:
    """Writes objects the way the client's Accept header asks: as they are, as tables or as their metadata alone."""

    def __init__(self, target: Target, sort: str, include: str) -> None:
        self._target, self._sort, self._include = target, sort, include

    def __call__(self, objects: Iterable[Mapping[str, Any]], meta: Object, *, single: bool) -> Mapping[str, Any]:
        resource, found = self._target.resource, list(objects)
        if self._sort == "Table":
            version = {"resourceVersion": found[0]["metadata"]["resourceVersion"]} if single else meta
            return table(resource, [dict(obj) for obj in found], dict(version), datetime.now(UTC), self._include)
        named = {"apiVersion": resource.api_version, "kind": resource.list_kind}
        if self._sort.startswith("PartialObjectMetadata"):
            named = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList"}
            part = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata"}
            found = [{**part, "metadata": obj["metadata"]} for obj in found]
        return found[0] if single else {**named, "metadata": meta, "items": found}


def _rendering(request: web.Request, target: Target) -> _Rendering:
    for option in request.headers.get("Accept", "").split(","):
        parts = dict(part.strip().partition("=")[::2] for part in option.split(";")[1:])
        if parts.get("g") == "meta.k8s.io" and parts.get("v") == "v1":
            return _Rendering(target, parts.get("as", ""), request.query.get("includeObject", "Metadata"))
        if option.strip().startswith("application/json"):
            break
    return _Rendering(target, "", "Metadata")
