"""The suite that runs on any API server: which one, an operator a file, a namespace and played nodes a test.

See tests/support/cluster_server.py for how a server is found. Nothing here assumes the box.
"""

import contextlib
import time
from pathlib import Path

import cluster_server
import pytest
from cluster_http import HttpCluster
from cluster_operator import Operator
from cluster_report import Claims
from cluster_rights import take_back
from cluster_space import KIND, Space
from played import Played

from manta_operator.api.crd import custom_resource_definition
from manta_operator.box.cluster import ApiError

HERE = Path(__file__).parent
GONE_SECONDS = 120
SUITE_SECONDS = 360
OPERATOR = "operator"
CRD = "llmdeployments.manta.dev"


def pytest_configure(config):
    config.pluginmanager.register(Claims(HERE), "cluster-claims")


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.timeout(SUITE_SECONDS))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The API server, with the CRD; at the end nothing of this run is left on it."""
    with cluster_server.found(tmp_path_factory.mktemp("cluster")) as found:
        _install(found.cluster)
        yield found
        _wait_until_gone(found)


def _install(cluster):
    """Apply the CRD, as `kubectl apply --server-side` does; it stays, for another run may use it."""
    cluster.apply(custom_resource_definition(), "tests")
    for _ in range(600):
        with contextlib.suppress(ApiError):
            cluster.list(KIND, "default")
            return
        time.sleep(0.1)
    pytest.fail(f"{CRD} is not served a minute after it was applied")


def _wait_until_gone(server):
    deadline = time.monotonic() + GONE_SECONDS
    while left := _left(server):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.3)


def _left(server):
    kinds = ("Namespace", "Node", "ClusterRole", "ClusterRoleBinding")
    names = [(kind, each["metadata"]["name"]) for kind in kinds for each in server.cluster.list(kind)]
    return [(kind, name) for kind, name in names if name.startswith(server.run)]


@pytest.fixture(autouse=True)
def _tell(request, server):
    """Let the report say where it ran."""
    request.node.user_properties.append(("server", str(server)))


@pytest.fixture(scope="module")
def namespaces(request, server):
    """The namespaces of a file's tests, by test; made at once, since one operator is told all of them."""
    stem = request.module.__name__.rpartition("test_")[2].replace("_", "-")
    tests = [item for item in request.session.items if item.path == request.path and "space" in item.fixturenames]
    found = {item.nodeid: f"{server.run}{stem}-{number}" for number, item in enumerate(tests)}
    found[OPERATOR] = f"{server.run}{stem}-operator"
    for name in found.values():
        server.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield found
    for name in found.values():  # the operator's own, and those of tests that were not reached
        with contextlib.suppress(ApiError):
            server.cluster.delete("Namespace", None, name)


@pytest.fixture(scope="module")
def operator(request, server, namespaces):
    """The operator of a file, in a process of its own, with the chart's rights in the file's namespaces."""
    tests = [item for item in request.session.items if item.nodeid in namespaces]
    watched = [namespaces[item.nodeid] for item in tests if "own" not in item.fixturenames]
    running = Operator(server, namespaces[OPERATOR], watched)
    try:
        yield running.start()
    finally:
        running.kill()
        take_back(server.cluster, running.home)


@pytest.fixture
def bare(request, server, namespaces):
    """A namespace with a played node, and no operator."""
    played = Played(HttpCluster(server.credentials), namespaces[request.node.nodeid])
    played.start()
    space = Space(server, played.space, played, None)
    try:
        played.add_node()
        yield space
    finally:
        space.clear()
        with contextlib.suppress(ApiError):  # a test may have deleted it
            server.cluster.delete("Namespace", None, space.name)
        played.stop()


@pytest.fixture
def space(bare, request):
    """The namespace of a test, cared for by the file's operator, or by one that the test starts (`own`)."""
    if "own" not in request.fixturenames:
        bare.operator = request.getfixturevalue("operator")
    return bare


@pytest.fixture
def own(bare, server):
    """Starts operators that are this test's alone."""
    started = []

    def start(name="operator", *extra, identity=None, program=None):
        made = Operator(server, bare.name, (bare.name,), name, extra)
        made.program = program or made.program
        made.identity = identity or next((each.identity for each in started), None)
        started.append(made.start())
        bare.operator = made
        return made

    yield start
    for each in started:
        each.kill()
    bare.operator = None
    take_back(server.cluster, bare.name)
