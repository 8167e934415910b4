"""The file that tells Envoy of the engines."""

import json

import pytest

from manta_runtime.router.endpoints import EndpointsFile, render
from manta_runtime.router.membership import Endpoint


def member(address, usable=True):
    return Endpoint(name=f"pod-{address}", address=address, replica="0", usable=usable)


def hosts(text):
    (resource,) = json.loads(text)["resources"]
    assert resource["cluster_name"] == "engines"
    (locality,) = resource["endpoints"]
    found = [(e["endpoint"]["address"]["socket_address"], e["health_status"]) for e in locality["lb_endpoints"]]
    return [(a["address"], a["port_value"], health) for a, health in found]


def test_usable_ones_are_healthy_and_the_others_only_reachable():
    text = render([member("10.0.0.2:8000", usable=False), member("10.0.0.1:8000")])
    assert hosts(text) == [("10.0.0.1", 8000, "HEALTHY"), ("10.0.0.2", 8000, "DRAINING")]


def test_the_order_of_members_does_not_matter():
    members = [member("10.0.0.2:8000"), member("10.0.0.1:8000")]
    assert render(members) == render(reversed(members))


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_an_address_that_a_new_pod_took_over_is_healthy(order):
    assert hosts(render([member("10.0.0.1:8000", usable) for usable in order])) == [("10.0.0.1", 8000, "HEALTHY")]


def test_ipv6_addresses_lose_their_brackets():
    assert hosts(render([member("[fd00::7]:8000")])) == [("fd00::7", 8000, "HEALTHY")]


def test_only_changes_are_written_and_nothing_else_is_left_behind(tmp_path):
    path = tmp_path / "endpoints.json"
    file = EndpointsFile(path)
    file.write([member("10.0.0.1:8000")])
    first, version = path.stat(), file.version
    assert json.loads(path.read_text())["version_info"] == version != ""
    file.write(iter([member("10.0.0.1:8000")]))
    assert (path.stat().st_ino, file.version) == (first.st_ino, version)
    file.write([])
    assert hosts(path.read_text()) == []
    assert json.loads(path.read_text())["version_info"] == file.version != version
    assert path.stat().st_ino != first.st_ino, "renamed into place, or Envoy would not see it"
    assert list(tmp_path.iterdir()) == [path]


def test_envoy_never_overwrites_what_the_picker_wrote(tmp_path):
    path = tmp_path / "endpoints.json"
    EndpointsFile(path).create()
    assert hosts(path.read_text()) == []
    EndpointsFile(path).write([member("10.0.0.1:8000")])
    EndpointsFile(path).create()
    assert hosts(path.read_text()) == [("10.0.0.1", 8000, "HEALTHY")]
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_error(tmp_path):
    file = EndpointsFile(tmp_path / "missing" / "endpoints.json")
    with pytest.raises(OSError, match="missing"):
        file.write([member("10.0.0.1:8000")])
    assert (file.version, file.addresses) == ("", frozenset())


@pytest.mark.parametrize("addresses", [(), ("10.0.0.1:8000",), ("10.0.0.1:8000", "[fd00::7]:8000")])
def test_the_next_picker_goes_on_with_the_file(tmp_path, addresses):
    path = tmp_path / "endpoints.json"
    members = [member(address) for address in addresses]
    first = EndpointsFile(path)
    first.write(members)
    written, after = path.stat(), EndpointsFile(path)
    assert (after.version, after.addresses) == (first.version, frozenset(addresses))
    after.write(members)
    assert path.stat().st_ino == written.st_ino
    after.write([*members, member("10.0.0.9:8000")])
    assert after.version != first.version
    assert after.addresses == {*addresses, "10.0.0.9:8000"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"resources": []}', '{"resources": [{"endpoints": [1]}]}', "\udcff"])
def test_a_file_that_is_none_is_as_good_as_no_file(tmp_path, text):
    path = tmp_path / "endpoints.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    file = EndpointsFile(path)
    assert (file.version, file.addresses) == ("", frozenset())
    file.write([])
    assert hosts(path.read_text()) == []
