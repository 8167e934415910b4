"""Two operators, of which one acts: by a Lease, with the chart's rights."""

import http.client

import pytest
from cluster_started import free_ports

LEASE = "manta-operator"


@pytest.fixture
def health_port():
    """Where the second operator answers its probes."""
    return free_ports(1)[0]


@pytest.fixture
def lease_seconds():
    """How long the Lease lasts: so short that it runs out soon, and so long that a busy machine renews it in time."""
    return 9


@pytest.fixture
def pair(space, own, health_port, lease_seconds):
    """Two operators that ask for the same Lease; the first has it."""
    options = ("--leader-elect", f"--lease-namespace={space.name}", f"--lease-seconds={lease_seconds}")
    first = own("one", *options)
    space.until("the first leads", lambda: "this replica acts" in first.log)
    second = own("two", *options, "--health-host=127.0.0.1", f"--health-port={health_port}")
    space.until("the second is ready", lambda: probe(health_port, "/readyz") == (200, "ok\n"))
    return first, second


def probe(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return None
    finally:
        connection.close()


def holder(space):
    return space.get("Lease", LEASE)["spec"]["holderIdentity"]


@pytest.mark.parametrize("lease_seconds", [60])
def test_a_standby_waits_and_takes_over_at_once_on_sigterm(space, pair, health_port, lease_seconds):
    """One of two operators acts; on SIGTERM it ends with 0 and gives its Lease to the other."""
    first, second = pair
    before = holder(space)
    assert "manta_leader 0.0" in probe(health_port, "/metrics")[1]
    space.make("demo")
    space.serving("demo")
    assert "this replica acts" not in second.log
    code, seconds = first.end()
    assert (code, seconds < 25) == (0, True)
    space.until("the second leads", lambda: holder(space) not in ("", before), seconds=lease_seconds - 20)
    assert space.get("Lease", LEASE)["spec"]["leaseTransitions"] == 1
    space.scale("demo", 2)
    space.until("two replicas", lambda: len(space.groups("demo")) == 2)
    assert probe(health_port, "/healthz") == (200, "ok\n")
    assert "manta_leader 1.0" in probe(health_port, "/metrics")[1]


def test_a_standby_takes_over_when_the_leader_dies(space, pair):
    """After kill -9 of the one that acts, the other takes the Lease when it has run out, and goes on."""
    first, second = pair
    space.make("demo")
    space.until("the first has made the groups", lambda: space.groups("demo"))
    first.kill()
    space.until("the second leads", lambda: "this replica acts" in second.log)
    space.serving("demo")


def test_a_lost_lease_ends_the_process(space, pair):
    """An operator whose Lease somebody else holds ends with an exit code that is not 0."""
    first, _ = pair
    space.cluster.patch("Lease", space.name, LEASE, {"spec": {"holderIdentity": "somebody-else"}})
    space.until("the first has ended", lambda: not first.runs)
    assert first.end()[0] == 1
    assert "the lease was taken by somebody-else" in first.log
