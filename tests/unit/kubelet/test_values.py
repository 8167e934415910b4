"""The pure parts: expansion, mount paths, fields, back-off, images, addresses."""

import os
import socket
import sys
from pathlib import Path

import pytest

from manta_operator.box.addresses import AddressesExhausted, AddressPool, claim_box, claim_number
from manta_operator.box.kubelet.backoff import Backoff, BackoffPolicy
from manta_operator.box.kubelet.config import StartError, inherited_env
from manta_operator.box.kubelet.expand import expand
from manta_operator.box.kubelet.fields import field_value, resource_value
from manta_operator.box.kubelet.images import ImageError, ImageResolver
from manta_operator.box.kubelet.paths import rewrite
from manta_operator.box.kubelet.service_env import service_env
from manta_operator.box.kubelet.volumes import map_host_path
from manta_operator.box.run_folder import make_run_folder, remove_left_behind, run_folder
from manta_operator.box.workloads.node import available_memory


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("--ip=$(IP)", "--ip=127.1.1.2"),
        ("$(IP):$(PORT)", "127.1.1.2:80"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(IP)", "$(IP)"),
        ("$$$(IP)", "$127.1.1.2"),
        ("$IP", "$IP"),
        ("$(IP", "$(IP"),
        ("100$", "100$"),
        ("a$$b", "a$b"),
        ("$(NESTED)", "$(IP)"),
    ],
)
def test_expansion(text, expanded):
    assert expand(text, {"IP": "127.1.1.2", "PORT": "80", "NESTED": "$(IP)"}) == expanded


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("/models", "/R"),
        ("/models/", "/R/"),
        ("--model=/models/tiny", "--model=/R/tiny"),
        ("/models/a:/models/b", "/R/a:/R/b"),
        ("file:///models/tiny", "file:///R/tiny"),
        ('{"path": "/models/x"}', '{"path": "/R/x"}'),
        ("/models/deep/x", "/D/x"),
        ("/models/deeper/x", "/R/deeper/x"),
        ("/models2/x", "/models2/x"),
        ("/models-2", "/models-2"),
        ("/models.old", "/models.old"),
        ("/srv/models/x", "/srv/models/x"),
        ("http://host/models/x", "http://host/models/x"),
        ("models/x", "models/x"),
        ("./models", "./models"),
        ("/data/x", "/models/x"),
        ("", ""),
    ],
)
def test_mount_paths_are_rewritten_at_path_boundaries(text, rewritten):
    mounts = {"/models": "/R", "/models/deep/": "/D", "/data": "/models", "/": "/never"}
    assert rewrite(text, mounts) == rewritten


POD = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a/b": "c"}, "annotations": {"x": "y"}},
    "spec": {"nodeName": "box", "serviceAccountName": "sa"},
    "status": {"podIP": "127.1.1.2", "hostIP": "127.1.1.1"},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "n"),
        ("metadata.uid", "u"),
        ("metadata.labels['a/b']", "c"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['x']", "y"),
        ("metadata.labels", 'a/b="c"\n'),
        ("spec.nodeName", "box"),
        ("spec.serviceAccountName", "sa"),
        ("status.podIP", "127.1.1.2"),
        ("status.hostIP", "127.1.1.1"),
    ],
)
def test_field_values(path, value):
    assert field_value(POD, path) == value


def test_an_unknown_field_is_refused_with_the_list():
    with pytest.raises(StartError, match=r"spec\.hostname.*metadata\.name"):
        field_value(POD, "spec.hostname")


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", None, "2"),
        ("limits.cpu", "1m", "1500"),
        ("requests.memory", None, str(2**31)),
        ("requests.memory", "1Mi", "2048"),
        ("limits.memory", None, "0"),
    ],
)
def test_resource_values(resource, divisor, value):
    container = {"resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "2Gi"}}}
    assert resource_value(container, {"resource": resource, "divisor": divisor}) == value


def test_backoff_doubles_to_its_maximum_and_starts_again_after_a_long_run():
    backoff = Backoff(BackoffPolicy())
    assert [backoff.after_run(5) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.after_run(600) == 1
    assert backoff.after_run(599) == 2


def test_images():
    images = ImageResolver(Path(sys.executable).parent)
    path = images.search_path("/usr/bin:/bin")
    assert images.resolve("manta/runtime:0.1.0", ["python"], path) == str(Path(sys.executable).with_name("python"))
    assert images.resolve("busybox", ["sh"], path).endswith("/sh")
    for image, command, reason, message in [
        ("manta/runtime:0.1.0", [], "CreateContainerError", "set `command`"),
        ("manta/runtime:0.1.0", ["no-such"], "RunContainerError", "'no-such' is not in"),
        ("busybox", [], "ErrImagePull", "names no command"),
        ("busybox", ["no-such"], "ErrImagePull", "'no-such' is not on the PATH"),
    ]:
        with pytest.raises(ImageError, match=message) as caught:
            images.resolve(image, command, path)
        assert caught.value.reason == reason


def test_of_the_environment_only_what_an_image_would_bring_is_inherited():
    environ = {"PATH": "/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/h", "http_proxy": "p", "SECRET": "s"}
    assert inherited_env(environ) == {"PATH": "/bin", "LC_ALL": "C", "TZ": "UTC"}


def test_host_paths_map_by_the_longest_prefix_of_whole_names():
    mapped = {"/var/models": Path("/a"), "/var/models/big": Path("/b")}
    assert map_host_path(Path("/var/models/x"), mapped) == Path("/a/x")
    assert map_host_path(Path("/var/models/big/x"), mapped) == Path("/b/x")
    assert map_host_path(Path("/var/models2"), mapped) == Path("/var/models2")


def test_services_are_told_as_a_kubelet_tells_them():
    def service(name, address, *ports):
        return {"metadata": {"name": name}, "spec": {"clusterIP": address, "ports": list(ports)}}

    # By pkg/kubelet/envvars/envvars.go of Kubernetes.
    assert service_env(
        [
            service("my-db", "127.2.1.1", {"port": 5432, "name": "pg-wire"}, {"port": 53, "protocol": "UDP"}),
            service("headless", "None", {"port": 80}),
        ]
    ) == {
        "MY_DB_SERVICE_HOST": "127.2.1.1",
        "MY_DB_SERVICE_PORT": "5432",
        "MY_DB_SERVICE_PORT_PG_WIRE": "5432",
        "MY_DB_PORT": "tcp://127.2.1.1:5432",
        "MY_DB_PORT_5432_TCP": "tcp://127.2.1.1:5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_ADDR": "127.2.1.1",
        "MY_DB_PORT_53_UDP": "udp://127.2.1.1:53",
        "MY_DB_PORT_53_UDP_PROTO": "udp",
        "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_ADDR": "127.2.1.1",
    }


def test_addresses_come_back_last_and_run_out():
    pool = AddressPool("127.1.9", 252)
    assert [pool.allocate() for _ in range(3)] == ["127.1.9.252", "127.1.9.253", "127.1.9.254"]
    with pytest.raises(AddressesExhausted, match=r"127\.1\.9\.252-254"):
        pool.allocate()
    pool.release("127.1.9.254")
    pool.release("127.1.9.252")
    pool.release("127.1.9.252")
    assert pool.claim("127.1.9.252")
    assert not pool.claim("127.1.9.252")
    assert pool.allocate() == "127.1.9.254"


def test_two_boxes_claim_two_numbers():
    ports = (46443, 46444)
    first, second = claim_box(ports), claim_box(ports)
    assert (first.number, first.address, first.port, second.number) == (1, "127.1.1.1", 46443, 2)
    assert claim_number(1, ports) is None
    first.listener.close()
    again = claim_box(ports)
    assert again.number == 1
    for claim in (second, again):
        claim.listener.close()


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])
def test_a_port_held_on_all_addresses_is_passed_over_and_numbers_stay_single(everywhere):
    ports = (46453, 46454)
    family = socket.AF_INET6 if everywhere == "::" else socket.AF_INET
    with socket.create_server((everywhere, 46453), family=family, dualstack_ipv6=everywhere == "::"):
        elsewhere = claim_box(ports)
        with pytest.raises(AddressesExhausted, match=rf"46453 by .+ \(pid {os.getpid()}\)"):
            claim_box(ports[:1])
    assert (elsewhere.number, elsewhere.port) == (1, 46454)
    after = claim_box(ports)
    assert (after.number, after.port) == (2, 46453)
    for claim in (elsewhere, after):
        claim.listener.close()


def test_run_folders_go_when_their_box_does_not_run():
    claim, dead = claim_box(), run_folder(249)
    alive = make_run_folder(claim.number)
    stranger = dead.with_name(dead.name + "-mine")
    for folder in (dead, stranger):
        folder.mkdir(exist_ok=True)
    try:
        remove_left_behind()
        assert alive.exists()
        assert stranger.exists()
        assert not dead.exists()
    finally:
        alive.rmdir()
        stranger.rmdir()
        claim.listener.close()


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({"memory.max": "max", "memory.current": "5", "memory.stat": ""}, None),
        ({"memory.max": "900", "memory.current": "500", "memory.stat": "anon 400\ninactive_file 70\n"}, 470),
        ({"memory.max": "900", "memory.current": "950", "memory.stat": ""}, 0),
        (
            {
                "memory/memory.limit_in_bytes": "900",
                "memory/memory.usage_in_bytes": "500",
                "memory/memory.stat": "inactive_file 9\ntotal_inactive_file 70\n",
            },
            470,
        ),
    ],
    ids=["unlimited", "version 2", "over its limit", "version 1"],
)
def test_memory_is_what_the_control_group_has_left(tmp_path, files, available):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = available_memory(tmp_path)
    assert found == available if available is not None else found > 1 << 20
