"""Validating admission webhooks: who is asked before a write over HTTP is stored, and what becomes of the answers.

As a real API server, but for what nothing here needs: match conditions, mutating webhooks, connections that are kept.
What the box's own controllers write in process is nobody's business: they make no custom objects.
"""

import asyncio
import base64
import ssl
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from manta_operator.box.apiserver.authentication import User
from manta_operator.box.apiserver.resources import Resource
from manta_operator.box.apiserver.selectors import matches_selector
from manta_operator.box.apiserver.store import Store
from manta_operator.box.cluster import ApiError

Object = dict[str, Any]
KIND = "ValidatingWebhookConfiguration"
TABLE = ("admissionregistration.k8s.io", "validatingwebhookconfigurations")
_DEFAULT_SECONDS = 10
_LARGEST = 2**20


@dataclass(frozen=True)
class Attempt:
    """A write as webhooks see it; `old` is None for a creation."""

    resource: Resource
    operation: Literal["CREATE", "UPDATE"]
    new: Object
    old: Object | None
    user: User | None
    dry_run: bool


def matching(store: Store, resource: Resource, operation: str, namespace: str | None) -> list[Object]:
    """Return the webhooks that are asked about such a write, in the order of their configurations' names."""
    found = sorted(store.objects(TABLE, None), key=lambda pair: pair[0])
    hooks = [hook for _, body in found for hook in body.get("webhooks") or ()]
    labels = ((store.get(("", "namespaces"), ("", namespace or "")) or {}).get("metadata") or {}).get("labels") or {}
    return [
        hook
        for hook in hooks
        if any(_covers(rule, resource, operation) for rule in hook.get("rules") or ())
        and matches_selector(hook.get("namespaceSelector"), labels)
    ]


def _covers(rule: Mapping[str, Any], resource: Resource, operation: str) -> bool:
    asked = {
        "apiGroups": resource.group,
        "apiVersions": resource.version,
        "operations": operation,
        "resources": resource.plural,
    }
    return all({"*", value} & set(rule.get(name) or ()) for name, value in asked.items())


async def ask(store: Store, hooks: list[Object], attempt: Attempt) -> list[str]:
    """Ask all of them at once; return their warnings. ApiError if one refuses, or must be heard and is not."""
    answers = await asyncio.gather(*(_ask(store, hook, attempt) for hook in hooks), return_exceptions=True)
    warnings: list[str] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        warnings += answer
    return warnings


async def _ask(store: Store, hook: Object, attempt: Attempt) -> list[str]:
    try:
        response = await _call(store, hook, _review(attempt))
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
        if hook.get("failurePolicy") == "Ignore":
            return []
        why = f'failed calling webhook "{hook["name"]}": failed to call webhook: {str(error) or type(error).__name__}'
        raise ApiError(500, "InternalError", f"Internal error occurred: {why}") from error
    if response["allowed"] is not True:
        status = response.get("status") or {}
        said = status.get("message") or status.get("reason")
        why = f"denied the request: {said}" if said else "denied the request without explanation"
        code, reason = int(status.get("code") or 403), str(status.get("reason") or "")
        raise ApiError(code, reason, f'admission webhook "{hook["name"]}" {why}')
    return [str(each) for each in response.get("warnings") or ()]


async def _call(store: Store, hook: Object, review: Object) -> Object:
    url, name, authority = _way(store, hook["clientConfig"])
    context = ssl.create_default_context(cadata=authority or None)
    timeout = aiohttp.ClientTimeout(total=hook.get("timeoutSeconds") or _DEFAULT_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(url, json=review, ssl=context, server_hostname=name, allow_redirects=False) as answer,
    ):
        if answer.status != 200:
            raise ValueError(f"the server answered {answer.status}: {(await answer.text())[:200]}")
        document = await answer.json()
    response: Object = document["response"]
    if response["uid"] != review["request"]["uid"]:
        raise ValueError("expected response.uid to be that of the request")
    return response


def _way(store: Store, client: Object) -> tuple[str, str | None, str]:
    """Return the address, the name in the certificate if that is another one, and who must have signed it."""
    authority = base64.b64decode(client.get("caBundle") or "").decode()
    if "url" in client:
        return client["url"], None, authority
    service = client["service"]
    body = store.get(("", "services"), (service["namespace"], service["name"]))
    if body is None:
        raise ValueError(f'service "{service["name"]}" not found')
    address = f"{body['spec']['clusterIP']}:{service.get('port') or 443}"
    return f"https://{address}{service.get('path') or '/'}", f"{service['name']}.{service['namespace']}.svc", authority


def _review(attempt: Attempt) -> Object:
    resource, meta, user = attempt.resource, attempt.new["metadata"], attempt.user
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    plural = {"group": resource.group, "version": resource.version, "resource": resource.plural}
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": str(uuid.uuid4()),
            "kind": kind,
            "resource": plural,
            "requestKind": kind,
            "requestResource": plural,
            "name": meta["name"],
            "namespace": meta.get("namespace", ""),
            "operation": attempt.operation,
            "userInfo": dict(_user(user)),
            "object": attempt.new,
            "oldObject": attempt.old,
            "dryRun": attempt.dry_run,
        },
    }


def _user(user: User | None) -> Iterator[tuple[str, Any]]:
    if user is not None:
        yield "username", user.name
        yield "groups", list(user.groups)
