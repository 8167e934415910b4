"""What `kubectl get` shows, kind by kind."""

from datetime import UTC, datetime, timedelta

import pytest

from manta_operator.box.apiserver import tables
from manta_operator.box.apiserver.resources import BUILT_IN, Registry, Resource

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
REGISTRY = Registry()


def before(**ago):
    return (NOW - timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(resource, obj, *, wide=False):
    """Column → cell of the one row, in kubectl's order."""
    answer = tables.table(resource, [obj], {"resourceVersion": "7"}, NOW)
    pairs = zip(answer["columnDefinitions"], answer["rows"][0]["cells"], strict=True)
    return {column["name"]: cell for column, cell in pairs if wide or not column["priority"]}


def named(**fields):
    return {"metadata": {"name": "x", "creationTimestamp": before(minutes=5)}} | fields


def of(kind, *, wide=False, **fields):
    return shown(REGISTRY.named(kind), named(**fields), wide=wide)


TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}}
WORKLOAD = {"replicas": 3, "template": TEMPLATE, "selector": {"matchLabels": {"b": "2", "a": "1"}}}


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        pytest.param(
            "Deployment",
            {"spec": WORKLOAD, "status": {"readyReplicas": 2, "updatedReplicas": 3}},
            ["x", "2/3", 3, 0, "5m", "a,b", "i,j", "a=1,b=2"],
            id="deployment",
        ),
        pytest.param("StatefulSet", {"spec": WORKLOAD}, ["x", "0/3", "5m", "a,b", "i,j"], id="statefulset, no status"),
        pytest.param("ReplicaSet", {"spec": WORKLOAD}, ["x", 3, 0, 0, "5m", "a,b", "i,j", "a=1,b=2"], id="replicaset"),
        pytest.param(
            "Service",
            {
                "spec": {
                    "type": "ClusterIP",
                    "clusterIP": "127.2.1.1",
                    "ports": [{"port": 80, "protocol": "TCP"}, {"port": 443, "nodePort": 30443}],
                    "selector": {"a": "b"},
                }
            },
            ["x", "ClusterIP", "127.2.1.1", "<none>", "80/TCP,443:30443/TCP", "5m", "a=b"],
            id="service",
        ),
        pytest.param(
            "Service",
            {"spec": {"type": "LoadBalancer", "clusterIP": "127.2.1.1"}},
            ["x", "LoadBalancer", "127.2.1.1", "<pending>", "<none>", "5m", "<none>"],
            id="service without ports",
        ),
        pytest.param(
            "EndpointSlice",
            {
                "addressType": "IPv4",
                "ports": [{"port": 8000}],
                "endpoints": [{"addresses": [f"127.1.1.{i}"]} for i in range(2, 7)],
            },
            ["x", "IPv4", "8000", "127.1.1.2,127.1.1.3,127.1.1.4 + 2 more...", "5m"],
            id="endpointslice",
        ),
        pytest.param(
            "EndpointSlice", {"addressType": "IPv4"}, ["x", "IPv4", "<unset>", "<unset>", "5m"], id="empty slice"
        ),
        pytest.param("Namespace", {"status": {"phase": "Active"}}, ["x", "Active", "5m"], id="namespace"),
        pytest.param("ConfigMap", {"data": {"a": "1"}, "binaryData": {"b": ""}}, ["x", 2, "5m"], id="configmap"),
        pytest.param("Secret", {"type": "Opaque", "data": {"a": ""}}, ["x", "Opaque", 1, "5m"], id="secret"),
        pytest.param("ServiceAccount", {}, ["x", 0, "5m"], id="serviceaccount"),
        pytest.param(
            "PodDisruptionBudget",
            {"spec": {"maxUnavailable": 1}, "status": {"disruptionsAllowed": 1}},
            ["x", "N/A", "1", 1, "5m"],
            id="pdb",
        ),
        pytest.param(
            "NetworkPolicy",
            {"spec": {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["z", "b"]}]}}},
            ["x", "a in (b,z)", "5m"],
            id="networkpolicy",
        ),
        pytest.param("NetworkPolicy", {"spec": {"podSelector": {}}}, ["x", "<none>", "5m"], id="networkpolicy for all"),
        pytest.param("CustomResourceDefinition", {}, ["x", "2026-01-02T11:55:00Z"], id="crd"),
        pytest.param("Role", {}, ["x", "2026-01-02T11:55:00Z"], id="role"),
        pytest.param(
            "RoleBinding",
            {
                "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [{"kind": "ServiceAccount", "name": "s", "namespace": "n"}, {"kind": "User", "name": "u"}],
            },
            ["x", "Role/r", "5m", "u", "", "n/s"],
            id="rolebinding",
        ),
        pytest.param("Lease", {"spec": {"holderIdentity": "me"}}, ["x", "me", "5m"], id="lease"),
        pytest.param("PriorityClass", {"value": 7}, ["x", 7, False, "5m", "PreemptLowerPriority"], id="priorityclass"),
        pytest.param(
            "Node",
            {
                "spec": {"unschedulable": True},
                "status": {
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "addresses": [{"type": "InternalIP", "address": "127.1.1.1"}],
                    "nodeInfo": {"kubeletVersion": "v1"},
                },
            },
            ["x", "Ready,SchedulingDisabled", "<none>", "5m", "v1", "127.1.1.1", "<none>", *["<unknown>"] * 3],
            id="node",
        ),
    ],
)
def test_cells(kind, fields, expected):
    assert list(of(kind, wide=True, **fields).values()) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(
            {"firstTimestamp": before(hours=1), "lastTimestamp": before(seconds=9), "count": 4}, "9s", id="old"
        ),
        pytest.param({"eventTime": before(seconds=30)}, "30s", id="event time"),
        pytest.param(
            {"eventTime": before(hours=1), "series": {"count": 2, "lastObservedTime": before(seconds=3)}},
            "3s",
            id="series",
        ),
        pytest.param({}, "<unknown>", id="no time"),
    ],
)
def test_event(fields, expected):
    about = {"kind": "Pod", "name": "tiny-0"}
    row = of("Event", type="Warning", reason="Failed", message=" why\n", involvedObject=about, **fields)
    assert list(row.values()) == [expected, "Warning", "Failed", "pod/tiny-0", "why"]


@pytest.mark.parametrize("resource", BUILT_IN, ids=lambda resource: resource.kind)
def test_every_kind_can_be_shown_with_as_little_as_its_required_fields(resource):
    spec = {"selector": {}, "template": {"spec": {"containers": []}}, "containers": []}
    least = named(spec=spec, roleRef={"kind": "Role", "name": "r"})
    assert list(shown(resource, least).values())[0 if resource.kind != "Event" else 4] in ("x", "")


COLUMNS = [
    {"name": "Ready", "type": "integer", "jsonPath": ".status.ready"},
    {"name": "Available", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Available')].status"},
    {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp", "priority": 1},
]


def custom(columns):
    return Resource(
        "example.org", "v1", "Widget", "widgets", "widget", crd={}, crd_version={"additionalPrinterColumns": columns}
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(
            {"ready": 2, "conditions": [{"type": "Available", "status": "True"}]}, ["x", 2, "True", "5m"], id="all"
        ),
        pytest.param({}, ["x", None, None, "5m"], id="nothing yet"),
        pytest.param({"ready": "two"}, ["x", None, None, "5m"], id="wrong type"),
    ],
)
def test_printer_columns_of_a_crd(status, expected):
    assert list(shown(custom(COLUMNS), named(status=status), wide=True).values()) == expected


def test_crd_without_columns_shows_name_and_age():
    assert shown(custom([]), named()) == {"Name": "x", "Age": "5m"}


def test_a_path_we_cannot_read_leaves_its_column_empty():
    columns = [{"name": "Odd", "type": "string", "jsonPath": "..name"}, *COLUMNS[:1]]
    assert shown(custom(columns), named(status={"ready": 1})) == {"Name": "x", "Odd": None, "Ready": 1}


@pytest.mark.parametrize(
    ("include", "kind"), [("None", None), ("Metadata", "PartialObjectMetadata"), ("Object", "Widget")]
)
def test_rows_carry_what_was_asked_for(include, kind):
    obj = named(kind="Widget")
    row = tables.table(custom([]), [obj], {}, NOW, include)["rows"][0]
    assert row.get("object", {}).get("kind") == kind


def test_list_metadata_is_passed_on():
    metadata = {"resourceVersion": "7", "continue": "more", "remainingItemCount": 3}
    assert tables.table(custom([]), [], metadata, NOW)["metadata"] == metadata


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            True,
        ),
        ("application/json", False),
        ("application/json,application/json;as=Table;v=v1;g=meta.k8s.io", False),
    ],
    ids=["kubectl get", "plain", "table as second choice"],
)
def test_tables_are_negotiated(accept, expected):
    assert tables.wants_table(accept) is expected
