"""Hypothesis strategies for the children of an LLMDeployment as an API server may return them."""

from typing import Any

from chaos_specs import TIMES, words
from hypothesis import strategies as st

from manta_operator.api import names

labels = st.dictionaries(
    st.sampled_from((names.LABEL_REPLICA, names.LABEL_REVISION, names.LABEL_DEPLOYMENT, names.LABEL_COMPONENT, "x")),
    st.sampled_from(("0", "1", "-1", "99999999999", "abc", "", "engine", "router", "demo", "1.5", "0x1", "\u0661")),
)
annotations = st.dictionaries(
    st.sampled_from(("manta.dev/restart", "kubectl.kubernetes.io/last-applied-configuration", "x")),
    st.sampled_from((
        "", "{", "null", "[]", "1", '{"count": 2, "at": "2026-01-01T00:00:00Z"}', '{"count": "x", "at": 1}',
        '{"count": -1, "at": "yesterday"}', '{"count": 1e999}',
        '{"count": 99999999999999999999, "at": "2026-01-01T00:00:00Z"}',
        '{"at": null, "count": null}', '{"count": 1, "at": "9999-12-31T23:59:59+00:00"}',
    )),
)  # fmt: skip


@st.composite
def children(draw: st.DrawFn, kind: str, uid: str) -> dict[str, Any]:
    """A child as an API server may return it: everything that may be missing sometimes is, and others wrote to it."""
    name = draw(st.sampled_from(("demo-0a0a0a0a-0", "demo-0a0a0a0a-1", "demo-router", "demo", "other", "a" * 250)))
    metadata = {"name": name, "namespace": "default", "uid": draw(st.uuids(version=4)).hex, "resourceVersion": "1"}
    metadata |= {"creationTimestamp": draw(st.sampled_from(TIMES))}
    owner = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": "demo", "uid": uid, "controller": True}
    optional = {
        "labels": labels,
        "annotations": annotations,
        "generation": st.sampled_from((1, 2, 2**40)),
        "deletionTimestamp": st.sampled_from(TIMES),
        "deletionGracePeriodSeconds": st.sampled_from((0, 30)),
        "ownerReferences": st.sampled_from(([owner], [owner | {"controller": False}], [owner | {"uid": "x"}], [])),
        "finalizers": st.just(["foregroundDeletion"]),
    }
    for field, values in optional.items():
        if draw(st.booleans()):
            metadata[field] = draw(values)
    body: dict[str, Any] = {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": draw(_SPECS[kind])}
    status = draw(st.one_of(st.none(), st.just({}), _STATUSES[kind]))
    return body if status is None else body | {"status": status}


_counts = st.sampled_from((0, 1, 2, 5, None))
_condition = st.fixed_dictionaries(
    {"type": st.sampled_from(("Ready", "PodScheduled", "ContainersReady", "Initialized", "Odd"))},
    optional={
        "status": st.sampled_from(("True", "False", "Unknown")),
        "reason": st.sampled_from(("Unschedulable", "", "X")),
        "message": words,
        "lastTransitionTime": st.one_of(st.none(), st.sampled_from(TIMES)),
    },
)
_state = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"waiting": st.fixed_dictionaries({}, optional={"reason": words, "message": words})}),
    st.fixed_dictionaries({"running": st.fixed_dictionaries({}, optional={"startedAt": st.sampled_from(TIMES)})}),
    st.fixed_dictionaries(
        {
            "terminated": st.fixed_dictionaries(
                {"exitCode": st.sampled_from((0, 1, 137))},
                optional={
                    "message": words,
                    "reason": words,
                    "finishedAt": st.one_of(st.none(), st.sampled_from(TIMES)),
                },
            )
        }
    ),
)
_container = st.fixed_dictionaries(
    {
        "name": st.sampled_from(("engine", "side")),
        "ready": st.booleans(),
        "restartCount": st.sampled_from((0, 7, 2**31 - 1)),
    },
    optional={"state": _state, "lastState": _state, "started": st.booleans()},
)  # fmt: skip
_pod_status = st.fixed_dictionaries({}, optional={
    "phase": st.sampled_from(("Pending", "Running", "Succeeded", "Failed", "Unknown")),
    "conditions": st.one_of(st.none(), st.lists(_condition, max_size=4)),
    "containerStatuses": st.one_of(st.none(), st.lists(_container, max_size=2)),
    "initContainerStatuses": st.lists(_container, max_size=1),
    "startTime": st.sampled_from(TIMES),
    "reason": words,
    "message": words,
    "podIP": st.just("10.0.0.1"),
})  # fmt: skip
_set_status = st.fixed_dictionaries({}, optional={
    "replicas": _counts, "readyReplicas": _counts, "observedGeneration": _counts,
    "conditions": st.lists(_condition, max_size=2),
})  # fmt: skip
_SPECS: dict[str, st.SearchStrategy[Any]] = {
    "StatefulSet": st.fixed_dictionaries({}, optional={"replicas": _counts, "template": st.just({})}),
    "Deployment": st.fixed_dictionaries({}, optional={"replicas": _counts}),
    "Pod": st.fixed_dictionaries({"containers": st.just([])}, optional={"nodeName": st.sampled_from(("n", "lost"))}),
}
_STATUSES = {"StatefulSet": _set_status, "Deployment": _set_status, "Pod": _pod_status}
