"""Which cluster is meant: the rules of kubectl, and the box."""

import json
import os
from pathlib import Path

import psutil
import pytest
import yaml

from manta_operator.cli.cluster import Asked, target_of
from manta_operator.cli.failures import Refused
from manta_operator.cli.kubeconfig import NoCluster, from_files, inside


def config(path: Path, name: str, *, current: str | None = None, namespace: str | None = None, user=None, cluster=None):
    context = {"cluster": name, "user": name} | ({"namespace": namespace} if namespace else {})
    document = {
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}:6443"} | (cluster or {})}],
        "users": [{"name": name, "user": user or {"token": name}}],
        "contexts": [{"name": name, "context": context}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document | ({"current-context": current} if current else {})))
    return path


def box(state: Path):
    state.mkdir(parents=True)
    path = config(state / "kubeconfig", "box", current="box")
    created = psutil.Process().create_time()
    words = {"number": 7, "pid": os.getpid(), "created": created, "kubeconfig": str(path)}
    (state / "box.json").write_text(json.dumps(words))
    return state


@pytest.mark.parametrize(
    ("case", "asked", "env", "meant"),
    [
        ("kubectl's own file", {}, {}, "context home"),
        ("KUBECONFIG before it", {}, {"KUBECONFIG": "{tmp}/env"}, "context env"),
        ("--kubeconfig before that", {"kubeconfig": "{tmp}/flag"}, {"KUBECONFIG": "{tmp}/env"}, "context flag"),
        (
            "--context of KUBECONFIG's files",
            {"context": "flag"},
            {"KUBECONFIG": "{tmp}/env:{tmp}/flag"},
            "context flag",
        ),
        ("a box before kubectl's own file", {"state": "{tmp}/box"}, {}, "box 7 in {tmp}/box"),
        ("but not before KUBECONFIG", {"state": "{tmp}/box"}, {"KUBECONFIG": "{tmp}/env"}, "context env"),
        ("nor before --context", {"state": "{tmp}/box", "context": "home"}, {}, "context home"),
        ("nor for kubectl manta", {"state": "{tmp}/box", "plugin": True}, {}, "context home"),
        (
            "unless --state names it",
            {"state": "{tmp}/box", "state_named": True, "plugin": True},
            {"KUBECONFIG": "{tmp}/env"},
            "box 7 in {tmp}/box",
        ),
    ],
)
def test_precedence(case, asked, env, meant, tmp_path):
    for name in ("env", "flag"):
        config(tmp_path / name, name, current=name)
    config(tmp_path / ".kube" / "config", "home", current="home")
    box(tmp_path / "box")

    def placed(value):
        return value.format(tmp=tmp_path) if isinstance(value, str) else value

    words = {key: placed(value) for key, value in asked.items()}
    words |= {key: Path(words[key]) for key in ("kubeconfig", "state") if key in words}
    chosen = target_of(Asked(**words), {key: placed(value) for key, value in env.items()}, tmp_path)
    assert chosen.title == placed(meant), case


def test_of_several_files_the_first_word_counts(tmp_path):
    one = config(tmp_path / "one", "a", current="a", namespace="team")
    two = config(tmp_path / "two", "b", current="b")
    config(tmp_path / "three", "a", current="a", cluster={"server": "https://other"})
    found = from_files([tmp_path / "missing", one, two, tmp_path / "three"])
    assert (found.title, found.server, found.namespace) == ("context a", "https://a:6443", "team")
    assert from_files([one, two], "b").namespace == "default"


def test_paths_are_relative_to_their_file(tmp_path):
    user = {"client-certificate": "me.crt", "exec": {"command": "./login", "apiVersion": "v1"}}
    path = config(tmp_path / "deep" / "k", "a", current="a", user=user, cluster={"certificate-authority": "/ca.crt"})
    found = from_files([path]).kubeconfig
    assert found["users"][0]["user"]["client-certificate"] == str(tmp_path / "deep" / "me.crt")
    assert found["users"][0]["user"]["exec"]["command"] == str(tmp_path / "deep" / "login")
    assert found["clusters"][0]["cluster"]["certificate-authority"] == "/ca.crt"


@pytest.mark.parametrize(
    ("case", "text", "context", "words"),
    [
        ("unknown context", "contexts: [{name: a, context: {cluster: c}}]", "b", ["no context b", "use one of: a"]),
        ("no current", "contexts: [{name: a, context: {cluster: c}}]", None, ["current-context", "--context", "a"]),
        ("no such cluster", "contexts: [{name: a, context: {cluster: c}}]", "a", ["cluster c", "no server"]),
        (
            "no such user",
            "contexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: s}}]",
            "a",
            ["user u"],
        ),
        ("not YAML", "a: [", None, ["cannot be read"]),
        ("no mapping", "- a", None, ["no kubeconfig"]),
    ],
)
def test_what_is_wrong_is_named(case, text, context, words, tmp_path):
    (tmp_path / "k").write_text(text)
    with pytest.raises(NoCluster) as caught:
        from_files([tmp_path / "k"], context)
    for word in words:
        assert word in str(caught.value), case


def test_a_pod_means_its_own_cluster(tmp_path):
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("team\n")
    env = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = inside(env, tmp_path)
    assert (found.server, found.namespace, found.inside) == ("https://[fd00::1]:443", "team", True)
    assert found.kubeconfig["users"][0]["user"] == {"tokenFile": str(tmp_path / "token")}
    assert inside({}, tmp_path) is None


def test_nothing_configured_names_both_ways_out(tmp_path):
    with pytest.raises(Refused) as caught:
        target_of(Asked(state=tmp_path / "box"), {}, tmp_path)
    assert "--kubeconfig" in caught.value.lines[0]
    assert "manta up" in caught.value.lines[0]


def test_a_box_and_a_context_cannot_both_be_meant(tmp_path):
    with pytest.raises(Refused, match="one of them"):
        target_of(Asked(state=box(tmp_path / "box"), state_named=True, context="a"), {}, tmp_path)
