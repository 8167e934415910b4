"""`manta release`: our finalizer alone, never while an operator runs, and never unasked."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from manta_operator.cli.leases import held, hint
from manta_operator.cli.release_command import FINALIZER, removal
from manta_operator.controller.leader_api import LABELS

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def finalizers(cluster, name="tiny", namespace="default"):
    found = cluster.do("find", "LLMDeployment", namespace, name)
    return found and found["metadata"].get("finalizers", [])


def lease(cluster, holder="operator-1", seconds=1):
    spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds}
    metadata = {"name": "manta-operator", "namespace": "system"}
    cluster.do("create", {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})


def test_takes_ours_and_leaves_the_others(cluster, manta):
    cluster.deployment("tiny", finalizers=["a.example/x", FINALIZER, "b.example/y"])
    cluster.deployment("other", finalizers=[FINALIZER])
    result = manta("release", "tiny", "--yes", kubeconfig=cluster.kubeconfig())
    assert result.exit_code == 0, result.output
    assert result.stdout == "default/tiny released; others hold it still: a.example/x, b.example/y\n"
    assert "not orderly" in result.stderr
    assert finalizers(cluster) == ["a.example/x", "b.example/y"]
    assert finalizers(cluster, "other") == [FINALIZER]


def test_a_deletion_that_waits_goes_on(cluster, manta):
    cluster.deployment("tiny", finalizers=[FINALIZER])
    cluster.do("delete", "LLMDeployment", "default", "tiny")
    assert finalizers(cluster) == [FINALIZER]
    assert manta("release", "tiny", "-y", kubeconfig=cluster.kubeconfig()).exit_code == 0
    assert finalizers(cluster) is None


def test_all_of_a_namespace_or_of_all(cluster, manta):
    for name, namespace in (("a", "default"), ("b", "default"), ("c", "team")):
        cluster.deployment(name, namespace=namespace, finalizers=[FINALIZER])
    kubeconfig = cluster.kubeconfig()
    here = manta("release", "--all", "-y", kubeconfig=kubeconfig)
    assert here.stdout.splitlines() == ["default/a released", "default/b released"]
    assert manta("release", "--all", "-A", "-y", kubeconfig=kubeconfig).stdout == "team/c released\n"
    cluster.deployment("d", namespace="system", finalizers=[FINALIZER])
    cluster.deployment("e", namespace="team", finalizers=[FINALIZER])
    some = manta("release", "--all", "-n", "team,system,gone", "-y", kubeconfig=kubeconfig)
    assert some.stdout.splitlines() == ["team/e released", "system/d released"]
    again = manta("release", "--all", "-A", "-y", kubeconfig=kubeconfig)
    assert (again.exit_code, "nothing to release" in again.stdout) == (0, True)


def test_an_operator_that_renews_its_lease_is_left_in_charge(cluster, manta):
    cluster.deployment("tiny", finalizers=[FINALIZER])
    lease(cluster, seconds=3)
    change = {"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}
    renewal = threading.Timer(0.3, lambda: cluster.do("patch", "Lease", "system", "manta-operator", change))
    renewal.start()
    result = manta("release", "tiny", "--yes", kubeconfig=cluster.kubeconfig())
    renewal.join()
    assert result.exit_code == 2
    assert "operator-1 (Lease system/manta-operator)" in result.stderr
    assert "--force" in result.stderr
    assert finalizers(cluster) == [FINALIZER]
    assert manta("release", "tiny", "--yes", "--force", kubeconfig=cluster.kubeconfig()).exit_code == 0
    assert finalizers(cluster) == []


async def test_an_operator_is_found_by_the_label_that_it_gives_its_lease():
    class Leases:
        async def list(self, *_):
            spec = {"holderIdentity": "llm-1"}
            names = {"llm": LABELS, "manta-operator": None, "llm-other": {"app.kubernetes.io/name": "other"}}
            return [
                {"metadata": {"name": name, "namespace": "system", "labels": labels}, "spec": spec}
                for name, labels in names.items()
            ]

    assert [each["metadata"]["name"] for each in await held(Leases())] == ["llm", "manta-operator"]


@pytest.mark.parametrize(("case", "holder"), [("its holder died", "operator-1"), ("it was given back", "")])
def test_a_lease_that_nobody_renews_does_not_count(case, holder, cluster, manta, monkeypatch):
    monkeypatch.setattr("manta_operator.cli.leases.LOOK_SECONDS", 0.2)
    cluster.deployment("tiny", finalizers=[FINALIZER])
    lease(cluster, holder)
    assert manta("release", "tiny", "--yes", kubeconfig=cluster.kubeconfig()).exit_code == 0, case
    assert finalizers(cluster) == []


@pytest.mark.parametrize(
    ("case", "args", "words"),
    [
        ("nothing named", [], "NAME of one LLMDeployment, or --all"),
        ("both named", ["tiny", "--all"], "NAME of one LLMDeployment, or --all"),
        ("nobody to ask", ["tiny"], "say --yes"),
        ("not there", ["nope", "--yes"], "no LLMDeployment nope"),
    ],
)
def test_what_is_wrong_is_named(case, args, words, cluster, manta):
    cluster.deployment("tiny", finalizers=[FINALIZER])
    result = manta("release", *args, kubeconfig=cluster.kubeconfig())
    assert (result.exit_code, words in result.stderr) == (2, True), result.output
    assert finalizers(cluster) == [FINALIZER]


def lease_body(minutes):
    renewed = (NOW - timedelta(minutes=minutes)).isoformat()
    spec = {"holderIdentity": "op-1", "renewTime": renewed}
    return {"metadata": {"name": "manta-operator", "namespace": "system"}, "spec": spec}


@pytest.mark.parametrize(
    ("case", "found", "words"),
    [
        ("not allowed", None, "may not list Leases"),
        ("none", [], "no operator holds a Lease"),
        (
            "old",
            [lease_body(12), lease_body(30)],
            "no operator runs: op-1 (Lease system/manta-operator) was last heard of 12m",
        ),
        ("fresh", [lease_body(30), lease_body(0)], "an operator runs, op-1"),
    ],
)
def test_what_leases_tell_of_an_operator(case, found, words):
    assert words in hint(found, NOW), case


def test_the_lease_of_a_node_with_such_a_name_is_no_operators(cluster, manta):
    spec = {"holderIdentity": "manta-1", "leaseDurationSeconds": 40}
    metadata = {"name": "manta-1", "namespace": "kube-node-lease"}
    cluster.do("create", {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
    cluster.deployment("tiny", finalizers=[FINALIZER])
    assert manta("release", "tiny", "--yes", kubeconfig=cluster.kubeconfig()).exit_code == 0
    assert finalizers(cluster) == []


def test_the_patch_is_guarded_by_where_the_finalizer_was():
    assert removal(["a", FINALIZER]) == [
        {"op": "test", "path": "/metadata/finalizers/1", "value": FINALIZER},
        {"op": "remove", "path": "/metadata/finalizers/1"},
    ]
