"""What goes wrong between a terminal and an API server: one sentence, what to do, exit code 2, never a traceback."""

import http.server
import socket
import stat
import threading

import pytest
import yaml

from manta_operator.cli.explain import explain
from manta_operator.cli.rest import CallFailed, path_of

COMMANDS = [["status"], ["status", "tiny"], ["logs", "tiny"], ["chat", "tiny", "hi"], ["release", "tiny", "--yes"]]


def refused(result, *words):
    assert result.exit_code == 2, result.output
    assert result.stderr.splitlines()[-1].startswith("error: ")
    for word in words:
        assert word in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_nobody_listens(command, cluster, manta):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        server = f"http://127.0.0.1:{taken.getsockname()[1]}"
        refused(
            manta(*command, kubeconfig=cluster.kubeconfig(server=server)),
            f"{server} does not answer: Connection refused; ",
            "--context",
        )


@pytest.mark.parametrize("command", COMMANDS)
def test_expired_credentials(command, cluster, manta):
    refused(manta(*command, kubeconfig=cluster.kubeconfig(token="old")), "does not accept the credentials", "log in")


@pytest.mark.parametrize("command", COMMANDS)
def test_manta_is_not_installed(command, bare_cluster, manta):
    refused(manta(*command, kubeconfig=bare_cluster.kubeconfig()), "CustomResourceDefinition", "docs/install.md")


class _NoSuchPath(http.server.BaseHTTPRequestHandler):
    """Answers as kube-apiserver does where nothing at all is served under a path, for a group without a CRD."""

    def do_GET(self):
        self.send_response(404)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(b"404 page not found\n")

    do_PATCH = do_GET  # noqa: N815 - names of http.server

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("command", COMMANDS)
def test_not_even_the_group_is_known(command, cluster, manta):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _NoSuchPath) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        path = cluster.kubeconfig(server=f"http://127.0.0.1:{server.server_port}")
        try:
            refused(manta(*command, kubeconfig=path), "CustomResourceDefinition", "docs/install.md")
        finally:
            server.shutdown()


def test_no_kubeconfig(manta):
    refused(manta("status"), "no cluster is configured", "--kubeconfig", "manta up")
    refused(manta("status", kubeconfig="/nowhere/config"), "no such file")
    refused(manta("status", "--context", "x"), "no context x")


def plugin_config(cluster, script):
    login = cluster.folder / "login"
    login.write_text(f"#!/bin/sh\n{script}\n")
    login.chmod(login.stat().st_mode | stat.S_IXUSR)
    path = cluster.kubeconfig()
    document = yaml.safe_load(path.read_text())
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login"}
    document["users"][0]["user"] = {"exec": plugin}
    path.write_text(yaml.safe_dump(document))
    return path


def test_credential_plugins_are_asked(cluster, manta):
    answer = '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "t0ken"}}'
    result = manta("status", kubeconfig=plugin_config(cluster, f"echo '{answer}'"))
    assert result.exit_code == 0, result.output


def test_a_credential_plugin_that_fails_is_quoted(cluster, manta):
    refused(manta("status", kubeconfig=plugin_config(cluster, "echo session expired >&2; exit 1")), "session expired")


def test_certificates_that_are_none(cluster, manta):
    path = cluster.kubeconfig(server="https://127.0.0.1:1")
    document = yaml.safe_load(path.read_text())
    document["clusters"][0]["cluster"]["certificate-authority-data"] = "bm9uZQ=="
    path.write_text(yaml.safe_dump(document))
    refused(manta("status", kubeconfig=path), "certificates cannot be used")


def test_a_server_that_another_signed_is_not_trusted(cluster, manta):
    found = explain(CallFailed(None, "", "certificate verify failed: self-signed", "GET /"), "context c", "https://c")
    assert "cannot be trusted" in found


@pytest.mark.parametrize(
    ("case", "failure", "words"),
    [
        ("forbidden", CallFailed(403, "Forbidden", 'User "x" cannot list', "GET"), ['User "x" cannot list', "role"]),
        ("overloaded", CallFailed(429, "", "slow down", "GET"), ["try again"]),
        ("broken", CallFailed(500, "", "etcd", "GET"), ["etcd", "try again"]),
        ("refused", CallFailed(422, "Invalid", "spec.x: wrong", "PATCH /x"), ["spec.x: wrong"]),
    ],
)
def test_sentences(case, failure, words):
    for word in words:
        assert word in explain(failure, "context c", "https://c"), case


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (("v1", "Pod", "n", "p", "log"), "/api/v1/namespaces/n/pods/p/log"),
        (("networking.k8s.io/v1", "NetworkPolicy", "n"), "/apis/networking.k8s.io/v1/namespaces/n/networkpolicies"),
        (("v1", "Node", None), "/api/v1/nodes"),
        (("v1", "Service", "n", "a:80", "proxy/v1/x"), "/api/v1/namespaces/n/services/a:80/proxy/v1/x"),
        (("v1", "Pod", "../x", "a/b"), "/api/v1/namespaces/..%2Fx/pods/a%2Fb"),
    ],
)
def test_paths(arguments, path):
    assert path_of(*arguments) == path


def test_the_plugin_calls_itself_as_kubectl_does(manta):
    assert manta("status", "--help", prog="kubectl-manta").stdout.startswith("Usage: kubectl manta status [OPTIONS]")
    assert manta("status", "--help").stdout.startswith("Usage: manta status [OPTIONS]")
