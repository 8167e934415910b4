"""`box/cluster.py`'s protocol spoken to any API server over HTTP, one blocking request a call; nothing is kept.

Tests ask with it. The box's controllers use it through cluster_cache.py, where a server has no controllers of its own.
"""

import json
from urllib.parse import quote, urlencode

import urllib3

from manta_operator.box.cluster import ApiError

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
SECONDS = 30


class HttpCluster:
    """Objects of one API server, as one user; usable by many threads."""

    def __init__(self, credentials):
        self.credentials = credentials
        self._pool = credentials.pool()
        self._kinds = {}

    def get(self, kind, namespace, name):
        return self.call("GET", self.path(kind, namespace, name))

    def find(self, kind, namespace, name):
        try:
            return self.get(kind, namespace, name)
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    def list(self, kind, namespace=None, selector=None):
        query = {"labelSelector": ",".join(f"{key}={value}" for key, value in (selector or {}).items())}
        listed = self.call("GET", self.path(kind, namespace), query=query if selector else {})
        found = [{"apiVersion": listed["apiVersion"], "kind": kind} | item for item in listed["items"]]
        return sorted(found, key=lambda obj: obj["metadata"].get("creationTimestamp") or "")

    def create(self, obj):
        return self.call("POST", self.path(obj["kind"], obj["metadata"].get("namespace")), obj)

    def update(self, obj, subresource=""):
        meta = obj["metadata"]
        return self.call("PUT", self.path(obj["kind"], meta.get("namespace"), meta["name"], subresource), obj)

    def update_status(self, obj):
        return self.update(obj, "status")

    def patch(self, kind, namespace, name, patch):
        return self.call("PATCH", self.path(kind, namespace, name), patch, MERGE)

    def patch_status(self, kind, namespace, name, patch):
        return self.call("PATCH", self.path(kind, namespace, name, "status"), patch, MERGE)

    def apply(self, obj, manager, **query):
        """Server-side apply, conflicts won."""
        meta = obj["metadata"]
        path = self.path(obj["kind"], meta.get("namespace"), meta["name"])
        return self.call("PATCH", path, obj, APPLY, query={"fieldManager": manager, "force": "true", **query})

    def delete(self, kind, namespace, name, *, grace_seconds=None, uid=None, propagation="Background"):
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        self.call("DELETE", self.path(kind, namespace, name), options)

    def path(self, kind, namespace=None, name="", subresource=""):
        """URL path of a kind, an object or a subresource; asks the server which kinds there are. ApiError 404."""
        if kind not in self._kinds:
            self._kinds = {**self.discover(), **self._kinds}
        if kind not in self._kinds:
            raise ApiError(404, "NotFound", f"the API server serves no kind {kind}")
        root, plural, namespaced, _ = self._kinds[kind]
        inside = ["namespaces", namespace] if namespaced and namespace else []
        return "/".join([root, *inside, plural, *(quote(part) for part in (name, subresource) if part)])

    def discover(self):
        """The kinds served now: name → (root, plural, namespaced, verbs); the group listed first has a name."""
        roots = ["/api/v1"]
        for group in self.call("GET", "/apis")["groups"]:
            roots.append(f"/apis/{group['preferredVersion']['groupVersion']}")
        found = {}
        for root in roots:
            for entry in self.call("GET", root)["resources"]:
                if "/" not in entry["name"]:
                    found.setdefault(entry["kind"], (root, entry["name"], entry["namespaced"], entry["verbs"]))
        return found

    def serves(self, kind):
        """Whether the server serves a kind now."""
        return kind in self.discover()

    def call(self, method, path, body=None, content="application/json", *, query=None, accept="application/json"):
        """One request; the answer's object. Raises ApiError, code 0 where nobody answers."""
        answer = self._send(method, path, body, content, query or {}, accept, SECONDS, preload=True)
        return json.loads(answer.data or b"{}")

    def text(self, path):
        """An answer that is no object."""
        return self._send("GET", path, None, "", {}, "*/*", SECONDS, preload=True).data.decode()

    def stream(self, path, query, seconds):
        """The lines of an answer as they come, until it ends or is silent for so many seconds."""
        answer, rest = self._send("GET", path, None, "", query, "application/json", seconds, preload=False), b""
        try:
            while part := answer.read1():
                *lines, rest = (rest + part).split(b"\n")
                yield from (json.loads(line) for line in lines if line)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(0, "Unreachable", f"watch {path}: {error}") from error
        finally:
            answer.close()

    def _send(self, method, path, body, content, query, accept, seconds, preload):
        url = f"{self.credentials.url}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {**self._pool.headers, "Content-Type": content, "Accept": accept}
        data = None if body is None else json.dumps(body)
        try:
            answer = self._pool.request(
                method, url, body=data, headers=headers, timeout=seconds, preload_content=preload, redirect=False
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{method} {path}: {error}") from error
        if answer.status >= 400:
            raise _error(answer, method, path)
        return answer


def _error(answer, method, path):
    try:
        told = json.loads(answer.data)
    except ValueError:
        told = {"message": answer.data.decode(errors="replace")}
    message = f"{method} {path}: {told.get('message')}"
    return ApiError(answer.status, told.get("reason") or "", message, told.get("details"))
