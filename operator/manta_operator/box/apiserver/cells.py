"""The cells that kubectl computes: selectors in words, ports, events, nodes. Each takes an object and the time now.

Used by `columns`; what is particular to pods is in `pod_columns`.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from manta_operator.box.apiserver import durations
from manta_operator.box.apiserver.jsonpath import find
from manta_operator.box.cluster import Object

NONE = "<none>"
_SHOWN = 3
"""Ports and endpoints shown before `+ 2 more...`."""
_OPERATORS = {"In": "in", "NotIn": "notin"}
Cell = Callable[[Object, datetime], Any]


def age_of(path: str) -> Cell:
    """Return a cell that says how long ago the time at `path` was."""
    return lambda obj, now: durations.age(_one(path, obj), now)


def size(*paths: str) -> Cell:
    """Return a cell that counts the entries at `paths`."""
    return lambda obj, _now: sum(len(_one(path, obj) or ()) for path in paths)


def containers(field: str) -> Cell:
    """Return a cell that lists a field of the containers of a pod template."""
    return lambda obj, _now: ",".join(map(str, find(f".spec.template.spec.containers[*].{field}", obj)))


def selector(path: str) -> Cell:
    """Return a cell that writes a selector in words; plain labels and label selectors alike."""
    return lambda obj, _now: _selector(_one(path, obj) or {})


def subjects(kind: str) -> Cell:
    """Return a cell that lists the subjects of one kind of a role binding."""

    def cell(obj: Object, _now: datetime) -> str:
        chosen = [one for one in obj.get("subjects") or () if one.get("kind") == kind]
        return ", ".join(f"{one['namespace']}/{one['name']}" if one.get("namespace") else one["name"] for one in chosen)

    return cell


def role(obj: Object, _now: datetime) -> str:
    """Role of a binding, such as Role/reader."""
    return f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"


def controller(obj: Object, _now: datetime) -> str | None:
    """Controlling owner, such as statefulset.apps/tiny."""
    for owner in find(".metadata.ownerReferences[?(@.controller==true)]", obj):
        group = owner["apiVersion"].rpartition("/")[0]
        return f"{owner['kind'].lower()}{'.' if group else ''}{group}/{owner['name']}"
    return None


def ready_of_desired(obj: Object, _now: datetime) -> str:
    """Ready replicas of the desired ones, such as 1/2."""
    desired = _one(".spec.replicas", obj)
    return f"{_one('.status.readyReplicas', obj) or 0}/{1 if desired is None else desired}"


def external_ip(service: Object, _now: datetime) -> str:
    """Address of a Service from outside the cluster."""
    spec = service["spec"]
    addresses = list(spec.get("externalIPs") or ())
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName") or NONE)
    if spec.get("type") == "LoadBalancer":
        ingress = find(".status.loadBalancer.ingress[*]", service)
        addresses = [one.get("ip") or one.get("hostname") for one in ingress] + addresses
        return ",".join(filter(None, addresses)) or "<pending>"
    return ",".join(addresses) or NONE


def service_ports(service: Object, _now: datetime) -> str:
    """Ports such as 80/TCP,443:30443/TCP."""
    ports = service["spec"].get("ports") or ()
    return ",".join(map(_service_port, ports)) or NONE


def endpoint_ports(endpoint_slice: Object, _now: datetime) -> str:
    """Ports of an EndpointSlice."""
    return _few([str(port.get("port") or "*") for port in endpoint_slice.get("ports") or ()])


def endpoint_addresses(endpoint_slice: Object, _now: datetime) -> str:
    """Addresses of an EndpointSlice."""
    return _few(find(".endpoints[*].addresses[*]", endpoint_slice))


def access_modes(claim: Object, _now: datetime) -> str:
    """Access modes a bound claim has, such as RWO,ROX."""
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    return ",".join(short.get(mode, mode) for mode in find(".status.accessModes[*]", claim))


def node_status(node: Object, _now: datetime) -> str:
    """Whether a node is ready and may be scheduled on."""
    ready = _one(".status.conditions[?(@.type=='Ready')].status", node)
    words = ["Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"]
    if _one(".spec.unschedulable", node):
        words.append("SchedulingDisabled")
    return ",".join(words)


def node_roles(node: Object, _now: datetime) -> str:
    """Roles from the labels node-role.kubernetes.io/<role>."""
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    return ",".join(sorted(label.removeprefix(prefix) for label in labels if label.startswith(prefix))) or NONE


def last_seen(event: Object, now: datetime) -> str:
    """When an event happened last, whichever of the three ways it says so."""
    moment = _one(".series.lastObservedTime", event) or event.get("lastTimestamp")
    return durations.age(moment, now) if moment else first_seen(event, now)


def first_seen(event: Object, now: datetime) -> str:
    """When an event happened first."""
    return durations.age(event.get("firstTimestamp") or event.get("eventTime"), now)


def event_count(event: Object, _now: datetime) -> int:
    """How often an event happened."""
    return int(_one(".series.count", event) or event.get("count") or 1)


def event_source(event: Object, _now: datetime) -> str:
    """Who reported an event."""
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent") or ""
    return ", ".join(filter(None, (component, source.get("host") or event.get("reportingInstance"))))


def event_message(event: Object, _now: datetime) -> str:
    """Text of an event without surrounding space."""
    return str(event.get("message") or "").strip()


def involved_object(event: Object, _now: datetime) -> str:
    """What an event is about, such as pod/tiny-0."""
    about = event.get("involvedObject") or {}
    kind, name = str(about.get("kind") or "").lower(), str(about.get("name") or "")
    return f"{kind}/{name}" if name else kind


def _one(path: str, obj: Object) -> Any:
    return next(iter(find(path, obj)), None)


def _few(texts: list[str]) -> str:
    more = f" + {len(texts) - _SHOWN} more..." if len(texts) > _SHOWN else ""
    return ",".join(texts[:_SHOWN]) + more if texts else "<unset>"


def _service_port(port: Any) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node_port}/{port.get('protocol') or 'TCP'}"


def _selector(value: Any) -> str:
    is_label_selector = not value or isinstance(value.get("matchLabels"), dict) or "matchExpressions" in value
    labels = (value.get("matchLabels") or {}) if is_label_selector else value
    expressions = value.get("matchExpressions") or () if is_label_selector else ()
    return ",".join([*(f"{key}={labels[key]}" for key in sorted(labels)), *_expressions(expressions)]) or NONE


def _expressions(expressions: Iterable[Any]) -> Iterable[str]:
    for one in expressions:
        key, wanted = one["key"], one["operator"]
        if wanted in _OPERATORS:
            yield f"{key} {_OPERATORS[wanted]} ({','.join(sorted(one.get('values') or ()))})"
        else:
            yield f"!{key}" if wanted == "DoesNotExist" else key
