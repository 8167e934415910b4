"""Asks a real Kubernetes API server what it thinks of a body, to hold our own judgement against.

On only with MANTA_CONFORMANCE_URL (and _TOKEN, or _CERT and _KEY) set: then the tests of the CRD run against that
server. It must hold nothing of value, and no operator may run: the CRD is applied to it, and one LLMDeployment in a
namespace of its own.
"""

import functools
import http.client
import json
import os
import re
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

from manta_operator.api.crd import custom_resource_definition

URL = os.environ.get("MANTA_CONFORMANCE_URL")
NAMESPACE, _HOLDER = "manta-crd-cases", "holder"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_OBJECTS = f"/apis/manta.dev/v1alpha1/namespaces/{NAMESPACE}/llmdeployments"
_APPLY = "application/apply-patch+yaml"
_STRICT = "fieldManager=tests&fieldValidation=Strict"


def problems(body: dict[str, Any], minimal: dict[str, Any]) -> list[str]:
    """What the server says about `body`, one text an error, without what only repeats another error.

    Args:
        body: The object. A status is judged where the server takes one: in an update of a stored object.
        minimal: A valid object.
    """
    code, answer = _try(body, minimal)
    if code in (200, 201):
        return []
    assert code == 422, f"{code}: {answer['message']}"
    causes = [(cause["field"], cause["message"]) for cause in answer["details"]["causes"]]
    return [as_we_write_it(field, message) for field, message in causes if not repeats(field, message)]


def admitted(body: dict[str, Any], minimal: dict[str, Any]) -> dict[str, Any]:
    """The object as the server would store `body`: with its defaults."""
    code, answer = _try(body, minimal)
    assert code == 201, f"{code}: {answer}"
    return dict(answer)


def _try(body: dict[str, Any], minimal: dict[str, Any]) -> tuple[int, Any]:
    """The server's answer to a body that it is to judge and not to keep."""
    version = ready(json.dumps(minimal))
    query = f"?dryRun=All&{_STRICT}"
    if "status" in body:
        metadata = {"name": _HOLDER, "namespace": NAMESPACE, "resourceVersion": version}
        return call("PUT", f"{_OBJECTS}/{_HOLDER}/status{query}", body | {"metadata": metadata})
    metadata = body["metadata"] | {"namespace": NAMESPACE}
    return call("POST", _OBJECTS + query, body | {"metadata": metadata})


def repeats(field: str, message: str) -> bool:
    """Whether it only says that rules wait for other errors, or is the scale subresource's check of the same field."""
    return "some validation rules were not checked" in message or field.startswith((".spec", ".status"))


def as_we_write_it(field: str, message: str) -> str:
    """An error with the server's three inaccuracies put right.

    It counts characters and says bytes, writes paths in a status without `status`, and nothing for the status itself.
    """
    message = re.sub(r"(may not be more than \d+) bytes$", r"\1 characters", message)
    if field.partition(".")[0] == "status":
        message = re.sub(
            r"(: )(?!status\b)(\S*)( in body )", lambda m: f"{m[1]}{f'status.{m[2]}'.rstrip('.')}{m[3]}", message
        )
    return f"{field}: {message}"


@functools.cache
def ready(minimal: str) -> str:
    """Apply the CRD as it is now, wait until it is served, and make the object with a status; return its version."""
    crd = custom_resource_definition()
    code, answer = call("PATCH", f"{_CRDS}/{crd['metadata']['name']}?force=true&{_STRICT}", crd, _APPLY)
    assert code in (200, 201), answer
    holder = json.loads(minimal)
    holder["metadata"] = {"name": _HOLDER}
    for _ in range(100):
        call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})  # the one of a run before may still go
        code, answer = call("PATCH", f"{_OBJECTS}/{_HOLDER}?force=true&{_STRICT}", holder, _APPLY)
        if code in (200, 201):
            return str(answer["metadata"]["resourceVersion"])
        time.sleep(0.1)
    raise AssertionError(answer)


def call(method: str, path: str, body: Any, kind: str = "application/json") -> tuple[int, Any]:
    """One request; its code and its answer."""
    headers = {"Content-Type": kind, "Authorization": f"Bearer {os.environ.get('MANTA_CONFORMANCE_TOKEN', 't')}"}
    connection = _connection()
    try:
        connection.request(method, path, json.dumps(body), headers)
        with connection.getresponse() as answer:
            return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def _connection() -> http.client.HTTPConnection:
    address = urlsplit(URL or "")
    assert address.hostname, "MANTA_CONFORMANCE_URL is no URL"
    if address.scheme == "http":
        return http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    return http.client.HTTPSConnection(address.hostname, address.port, timeout=30, context=_any_certificate())


@functools.cache
def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate := os.environ.get("MANTA_CONFORMANCE_CERT"):
        context.load_cert_chain(certificate, os.environ.get("MANTA_CONFORMANCE_KEY"))
    return context
