"""`manta status` on a real API server: the table, the full picture, formats and exit codes."""

import itertools
import json
from datetime import UTC, datetime

import pytest
import yaml

from manta_operator.cli import status_command
from manta_operator.cli.picture import age, local_endpoint, picture
from manta_operator.cli.rest import CallFailed
from manta_operator.cli.status_text import full

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def conditions(ready="True", reason="AllServing", message="all replicas serve", **more):
    entries = {"Ready": (ready, reason, message)} | more
    stamp = "2026-01-01T11:00:00Z"
    return [
        {"type": kind, "status": value[0], "reason": value[1], "message": value[2], "lastTransitionTime": stamp}
        for kind, value in entries.items()
    ]


def status(**more):
    return {"observedGeneration": 1, "readyReplicas": 1, "revision": "1a2b3c4d", "conditions": conditions()} | more


def statefulset(name, revision="1a2b3c4d", leaving=False):
    labels = {"manta.dev/revision": revision, "manta.dev/replica": name.rpartition("-")[2]}
    metadata = {"name": name, "labels": labels} | ({"deletionTimestamp": "2026-01-01T11:59:00Z"} if leaving else {})
    return {"metadata": metadata, "spec": {"replicas": 1}}


def pod(name, ready=True, problem=None):
    conditions = [{"type": "Ready", "status": str(ready)}]
    if problem:
        conditions.append({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": problem})
    replica = name.split("-")[-2]
    labels = {"app.kubernetes.io/component": "engine", "manta.dev/replica": replica}
    found = {"phase": "Running" if ready else "Pending", "conditions": conditions}
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": found}


def body(**more):
    metadata = {"name": "tiny", "namespace": "default", "uid": "u", "generation": 1}
    spec = {"model": {"uri": "hf://org/m"}, "accelerator": {"type": "cpu"}, "replicas": 2}
    return {"metadata": metadata, "spec": spec, "status": status(**more)}


def event(reason, message, about="tiny", uid="u", kind="Normal", time="2026-01-01T11:59:00Z"):
    involved = {"kind": "LLMDeployment" if uid == "u" else "Pod", "name": about, "uid": uid}
    return {"involvedObject": involved, "type": kind, "reason": reason, "message": message, "lastTimestamp": time}


def test_the_table_lists_what_is_in_the_namespace(cluster, manta):
    cluster.deployment("tiny", status=status())
    cluster.deployment("big", replicas=3, status=status(conditions=conditions("False", "NoRoom", "no GPU is free")))
    cluster.deployment("new")
    result = manta("status", kubeconfig=cluster.kubeconfig())
    assert result.exit_code == 0, result.output
    where, hint = result.stderr.splitlines()
    assert where == f"context here ({cluster.url}), namespace default"
    assert hint.startswith("no operator holds a Lease")
    titles, *rows = [line.split(maxsplit=4) for line in result.stdout.splitlines()]
    assert titles == ["NAME", "SERVING", "STATE", "AGE", "MESSAGE"]
    assert [(row[0], row[1], row[2], row[4]) for row in rows] == [
        ("big", "1/3", "NoRoom", "no GPU is free"),
        (
            "new",
            "0/1",
            "Stale",
            "the operator has not looked at generation 1 yet, it has not seen it at all; is it running?",
        ),
        ("tiny", "1/1", "Ready", "all replicas serve"),
    ]


def test_all_namespaces(cluster, manta):
    cluster.deployment("a", namespace="team")
    kubeconfig = cluster.kubeconfig()
    assert "no LLMDeployment in namespace default" in manta("status", kubeconfig=kubeconfig).stdout
    assert manta("status", "-A", kubeconfig=kubeconfig).stdout.splitlines()[1].split()[:2] == ["team", "a"]
    assert manta("status", "-n", "team", kubeconfig=kubeconfig).stdout.splitlines()[1].split()[0] == "a"
    both = manta("status", "-A", "-n", "team", kubeconfig=kubeconfig)
    assert (both.exit_code, "exclude each other" in both.stderr) == (2, True)


@pytest.mark.parametrize(
    ("case", "ready", "options", "code"),
    [
        ("asked, ready", "True", ["--exit-code"], 0),
        ("asked, not ready", "False", ["--exit-code"], 1),
        ("not asked", "False", [], 0),
        ("asked for one", "False", ["tiny", "--exit-code"], 1),
    ],
)
def test_exit_codes(case, ready, options, code, cluster, manta):
    cluster.deployment("tiny", status=status(conditions=conditions(ready)))
    assert manta("status", *options, kubeconfig=cluster.kubeconfig()).exit_code == code, case


def test_structured_output_is_all_of_standard_output(cluster, manta):
    cluster.deployment("tiny", status=status())
    kubeconfig = cluster.kubeconfig()
    (summary,) = json.loads(manta("status", "-o", "json", kubeconfig=kubeconfig).stdout)
    assert (summary["name"], summary["ready"], summary["serving"]) == ("tiny", True, 1)
    one = yaml.safe_load(manta("status", "tiny", "-o", "yaml", kubeconfig=kubeconfig).stdout)
    assert (one["observedGeneration"], one["conditions"][0]["type"], one["replicas"]) == (1, "Ready", [])
    assert manta("status", "-o", "wide", kubeconfig=kubeconfig).stdout.splitlines()[1].split()[4] == "hf://org/model"


def test_the_picture_of_one_reads_its_children(cluster, manta):
    cluster.deployment("tiny", status=status())
    cluster.deployment("other", status=status())
    cluster.pod("tiny-1a2b3c4d-0-0")
    cluster.pod("other-1a2b3c4d-0-0", deployment="other")
    result = manta("status", "tiny", kubeconfig=cluster.kubeconfig())
    assert result.exit_code == 0, result.output
    assert "tiny-1a2b3c4d-0-0" in result.stdout
    assert "other" not in result.stdout


def test_the_full_picture_of_a_rollout():
    sets = [statefulset("tiny-1a2b3c4d-0"), statefulset("tiny-00000000-0", "00000000"), statefulset("tiny-1a2b3c4d-1")]
    pods = [pod("tiny-1a2b3c4d-0-0"), pod("tiny-00000000-0-0"), pod("tiny-00000000-1-0")]
    pods.append(pod("tiny-1a2b3c4d-1-0", ready=False, problem="0/3 nodes are available"))
    moves = {"Progressing": ("True", "RollingOut", "1 of 2 replicas of revision 1a2b3c4d serve")}
    events = [
        event("RollingOut", "revision 1a2b3c4d"),
        event("FailedScheduling", "old news", "tiny-1a2b3c4d-1-0", "p", "Warning", "2026-01-01T11:00:00Z"),
        event("FailedScheduling", "no node", "tiny-1a2b3c4d-1-0", "p", "Warning", "2026-01-01T11:58:00Z"),
        event("Unhealthy", "it was starting", "tiny-1a2b3c4d-0-0", "q", "Warning"),
        event("Killing", "another's", "other-0", "o", "Warning"),
    ]
    decisions = [{"reason": "Fit", "message": "8 GiB"}, {"reason": "Surge", "message": "one node has room"}]
    about = body(
        conditions=conditions("False", "RollingOut", "1 of 2", **moves),
        plan="tensor 1",
        fit={"fits": "True", "message": "8 GiB"},
        decisions=decisions,
        endpoint="http://tiny.default.svc:8000/v1",
    )
    text = "\n".join(full(picture(about, sets, pods, events), NOW, None))
    assert text == PICTURE


PICTURE = """\
\x1b[1mdefault/tiny\x1b[0m  \x1b[33mRollingOut\x1b[0m
  message     1 of 2
  model       hf://org/m
  accelerator cpu: each replica is tensor 1
  fit         fits: 8 GiB
  endpoint    http://tiny.default.svc:8000/v1
  revision    1a2b3c4d

\x1b[1mConditions\x1b[0m
  TYPE         STATUS  SINCE  REASON      MESSAGE
  Ready        \x1b[31mFalse   \x1b[0m60m    RollingOut  1 of 2
  Progressing  True    60m    RollingOut  1 of 2 replicas of revision 1a2b3c4d serve

\x1b[1mReplicas: 1 of 2 serve; rolling out 1a2b3c4d: 1 of 2 new serve, 2 older to leave\x1b[0m
  REPLICA     POD                STATE    RESTARTS  PROBLEM
  0           tiny-1a2b3c4d-0-0  \x1b[32mReady    \x1b[0m0
  1           tiny-1a2b3c4d-1-0  \x1b[33mPending  \x1b[0m0         Unschedulable: 0/3 nodes are available
  0 (older)   tiny-00000000-0-0  \x1b[32mReady    \x1b[0m0
  1 (leaves)  tiny-00000000-1-0  \x1b[32mReady    \x1b[0m0

\x1b[1mDecisions\x1b[0m
  - Surge: one node has room

\x1b[1mEvents, last at the end\x1b[0m
  AGE  TYPE     REASON            MESSAGE
  2m   \x1b[33mWarning  \x1b[0mFailedScheduling  Pod/tiny-1a2b3c4d-1-0: no node
  60s  Normal   RollingOut        revision 1a2b3c4d"""


@pytest.mark.parametrize(
    ("engine", "line"),
    [
        (
            {"version": "0.32.0", "attentionBackend": "CPU_ATTN", "quantization": "none", "kvCacheTokens": 65536,
             "speculative": "none"},
            "  engine      vLLM 0.32.0, attention CPU_ATTN, quantization none, KV cache of 65536 tokens",
        ),
        (
            {"quantization": "auto_gptq", "quantizationKernels": ["AKernel for a", "B for c"], "speculative": "mtp"},
            "  engine      quantization auto_gptq (AKernel for a, B for c), guesses by mtp",
        ),
        ({"kvCacheTokens": 0}, "  engine      KV cache of 0 tokens"),
    ],
)  # fmt: skip
def test_what_the_engines_chose(engine, line):
    about = body(conditions=conditions("True", "AllServing", ""), engine=engine)
    assert line in "\n".join(full(picture(about, (), (), ()), NOW, None)).splitlines()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172799, "47h"), (172800, "2d"), (-5, "0s")],
)
def test_ages_are_kubectls(seconds, words):
    then = datetime.fromtimestamp(NOW.timestamp() - seconds, UTC)
    assert age(then.isoformat(), NOW) == words


def test_a_boxs_service_is_reached_at_its_own_address():
    service = {"spec": {"clusterIP": "127.2.1.1", "ports": [{"port": 8000}]}}
    assert local_endpoint(service) == "http://127.2.1.1:8000/v1"
    assert local_endpoint({"spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 8000}]}}) == ""
    assert local_endpoint(None) == ""


@pytest.mark.parametrize(
    ("case", "change", "state", "words"),
    [
        (
            "deleting",
            {"deletionTimestamp": "x", "finalizers": ["manta.dev/operator"]},
            "Deleting",
            "manta.dev/operator",
        ),
        ("behind", {"generation": 2}, "Stale", "generation 2 yet, it has seen generation 1"),
    ],
)
def test_states_of_before_the_conditions(case, change, state, words):
    about = body()
    about["metadata"] |= change
    seen = picture(about, (), (), ()).summary
    assert (seen.state, seen.ready) == (state, False), case
    assert words in seen.message


def test_a_degraded_deployment_says_so_although_it_is_ready():
    about = body(conditions=conditions(Degraded=("True", "BudgetSpent", "replica 1 was restarted 5 times")))
    assert picture(about, (), (), ()).summary.message == "replica 1 was restarted 5 times"


def test_watching_in_a_pipe_tells_what_changes_and_not_that_time_passes(cluster, manta, monkeypatch):
    monkeypatch.setattr("manta_operator.cli.status_command.WATCH_SECONDS", 0.01)
    cluster.deployment("tiny", status=status(conditions=conditions("False", "Starting", "0 of 1")))
    looks = itertools.count()

    def another_age(*_):
        if (look := next(looks)) == 5:
            cluster.do("patch_status", "LLMDeployment", "default", "tiny", {"status": status()})
        elif look == 10:
            monkeypatch.setattr("manta_operator.cli.status_command._shown", interrupt)
        return f"{look}s"

    async def interrupt(*_):
        raise CallFailed(401, "Unauthorized", "expired", "GET")

    monkeypatch.setattr("manta_operator.cli.status_text.age", another_age)
    result = manta("status", "--watch", kubeconfig=cluster.kubeconfig())
    assert [line.split()[2] for line in result.stdout.splitlines() if line.startswith("tiny")] == ["Starting", "Ready"]
    assert (result.exit_code, "does not accept the credentials" in result.stderr) == (2, True)


def test_long_lists_are_read_to_their_end(cluster, manta, monkeypatch):
    monkeypatch.setattr("manta_operator.cli.rest.PAGE", 2)
    for number in range(5):
        cluster.deployment(f"m{number}")
    rows = manta("status", kubeconfig=cluster.kubeconfig()).stdout.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["m0", "m1", "m2", "m3", "m4"]


class Refusing:
    """An API server that shows LLMDeployments and StatefulSets, and nothing else."""

    async def list(self, api_version, kind, namespace=None, *, labels="", fields=""):
        if kind != "StatefulSet":
            raise CallFailed(403, "Forbidden", f"you cannot list {kind}", "GET")
        return [statefulset("tiny-1a2b3c4d-0")]

    async def find(self, api_version, kind, namespace, name):
        raise CallFailed(403, "Forbidden", f"you cannot get {kind}", "GET")


async def test_what_may_not_be_read_is_said_and_the_rest_is_shown():
    seen = await status_command._picture(Refusing(), body())
    assert [each.name for each in seen.replicas] == ["tiny-1a2b3c4d-0"]
    assert seen.unread == (
        "pods: you cannot list Pod",
        "Service: you cannot get Service",
        "events: you cannot list Event",
    )
    assert "Not shown" in "\n".join(full(seen, NOW, 80))
