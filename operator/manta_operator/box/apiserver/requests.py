"""What a URL, its query and the body of a request ask for; anything that makes no sense is an ApiError 400."""

import base64
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import yaml
from aiohttp import web

from manta_operator.box.apiserver import protobuf
from manta_operator.box.apiserver.authentication import User
from manta_operator.box.apiserver.authorization import Attributes
from manta_operator.box.apiserver.errors import bad_request
from manta_operator.box.apiserver.resources import Registry, Resource
from manta_operator.box.apiserver.selectors import Matches, field_selector, label_selector
from manta_operator.box.apiserver.writes import Write
from manta_operator.box.cluster import ApiError

_URL = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?/?\Z"
)
_SUBRESOURCES_OF_NAMESPACES = ("status", "finalize")
_ONE_NAME = re.compile(r"(?:^|,)metadata\.name==?([^,=!]+)(?:,|$)")
_VERBS = {
    "GET": ("get", "list"),
    "HEAD": ("get", "list"),
    "POST": ("create", "create"),
    "PUT": ("update", "update"),
    "PATCH": ("patch", "patch"),
    "DELETE": ("delete", "deletecollection"),
}
"""The verb of a method, for one object and for several."""
USER: web.RequestKey[User] = web.RequestKey("user", User)
"""Under which a request knows who makes it."""


@dataclass(frozen=True)
class Target:
    """What a URL points at."""

    resource: Resource
    namespace: str | None
    name: str | None
    subresource: str

    @property
    def recorded(self) -> str:
        """The subresource that managedFields name as where a write came in; empty: the object itself."""
        return self.subresource if self.subresource in ("status", "scale") else ""


def parse_target(registry: Registry, path: str) -> Target | None:
    """Return what a URL points at; None if nothing is served there."""
    found = _URL.match(path)
    if found is None:
        return None
    part = found.groupdict()
    group, version = part["group"] or "", part["core"] or part["version"]
    if part["namespace"] and part["plural"] in _SUBRESOURCES_OF_NAMESPACES and not part["name"] and not group:
        part = {**part, "plural": "namespaces", "name": part["namespace"], "sub": part["plural"], "namespace": None}
    resource = registry.at(group, version, part["plural"])
    if resource is None or (part["namespace"] and not resource.namespaced):
        return None
    return Target(resource, part["namespace"], part["name"], part["sub"] or "")


def attributes_of(request: web.Request) -> Attributes:
    """Return a request as rules see it, whether what it is for is served or not."""
    path, query = request.path, request.query
    found = _URL.match(path)
    if found is None:
        return Attributes(request.method.lower(), path=path)
    part = found.groupdict()
    plural, name, subresource = part["plural"], part["name"] or "", part["sub"] or ""
    namespace = part["namespace"] or ""
    if plural == "namespaces" or (namespace and plural in _SUBRESOURCES_OF_NAMESPACES and not name):
        if plural != "namespaces":
            name, subresource = namespace, plural
        plural, namespace = "namespaces", name
    several = not name
    named = _ONE_NAME.search(query.get("fieldSelector", ""))
    verb = _VERBS[request.method][several]
    if verb in ("get", "list") and flag(query, "watch"):
        verb, several = "watch", True
    if several and named:
        name = named[1]
    return Attributes(verb, part["group"] or "", f"{plural}/{subresource}" if subresource else plural, namespace, name)


def flag(query: Mapping[str, str], name: str) -> bool:
    """Read a yes or no: 1, true."""
    return query.get(name, "").lower() in ("1", "true")


def whole(query: Mapping[str, str], name: str) -> int | None:
    """Read a number that is not negative; None if it is not given."""
    text = query.get(name, "")
    if not text:
        return None
    if not text.isdigit():
        raise bad_request(f'{name}: "{text}" is not a whole number')
    return int(text)


def matcher(resource: Resource, query: Mapping[str, str], name: str | None = None) -> Matches:
    """Return what both selectors of a query let through, and the name on the URL, if any."""
    labels = label_selector(query.get("labelSelector", ""))
    fields = field_selector(resource, query.get("fieldSelector", ""))
    return lambda obj: (name is None or obj["metadata"]["name"] == name) and labels(obj) and fields(obj)


def write_options(request: web.Request, subresource: str) -> Write:
    """Return how a write is meant."""
    query = request.query
    agent = request.headers.get("User-Agent", "unknown").partition("/")[0][:128]
    mode = query.get("fieldValidation") or "Warn"
    if mode not in ("Ignore", "Warn", "Strict"):
        raise bad_request(f'fieldValidation: "{mode}": use Ignore, Warn or Strict')
    dry_run = query.getall("dryRun", [])
    if dry_run not in ([], [""], ["All"]):
        raise bad_request("dryRun: the only value is All")
    manager = query.get("fieldManager") or agent
    return Write(manager, subresource, dry_run == ["All"], mode, flag(query, "force"), user=request[USER])


async def body_of(request: web.Request) -> Any:
    """Return the body, JSON or YAML; None if there is none."""
    text = await request.read()
    if not text:
        return None
    kind = request.content_type
    if "cbor" in kind:
        raise _unreadable(kind)
    if "protobuf" in kind:
        try:
            return protobuf.decode(text)
        except LookupError as error:
            raise _unreadable(f"a {error.args[0]} as {kind}") from error
        except ValueError as error:
            raise bad_request(f"the body is not protobuf: {error}") from error
    try:
        return _yaml(text) if "yaml" in kind else json.loads(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise bad_request(f"the body is not {'YAML' if 'yaml' in kind else 'JSON'}: {error}") from error


def _yaml(text: bytes) -> Any:
    """Return what a YAML text says; the JSON that clients apply is YAML, too, and a hundred times as fast to read."""
    if text.startswith(b"{"):
        with suppress(ValueError):
            return json.loads(text)
    return yaml.safe_load(text)


def _unreadable(what: str) -> ApiError:
    message = f"the box's API server reads JSON and YAML, not {what}: send JSON "
    message += "(with kubectl create: --dry-run=client -o yaml | kubectl apply -f -)"
    return ApiError(415, "UnsupportedMediaType", message)


def next_page(version: int, after: tuple[str, str]) -> str:
    """Return the token that continues a list behind an object."""
    return base64.urlsafe_b64encode(json.dumps([version, *after]).encode()).decode()


def read_page(token: str) -> tuple[int, tuple[str, str]]:
    """Read such a token."""
    try:
        version, namespace, name = json.loads(base64.urlsafe_b64decode(token))
        return int(version), (str(namespace), str(name))
    except (ValueError, TypeError) as error:
        raise bad_request("continue: not a token of this server") from error
