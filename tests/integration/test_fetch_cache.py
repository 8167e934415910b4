"""`manta-runtime fetch` and the cache it shares: locks and waiting, progress over HTTP, full and forbidden disks."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest
from fetch_hub import FakeHub
from fetching import command, content, env_of, fetch, model, needed, start, start_without_locks

CHUNK = 65536


@pytest.fixture
def hub():
    with FakeHub(model(1_000_000)) as hub:
        yield hub


@pytest.fixture
def to(tmp_path):
    return tmp_path / "models/KEY"


def wait_until_sent(hub, process, count):
    while hub.sent < count:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return answer.read().decode()


def test_one_downloads_and_the_others_wait_for_it(hub, to):
    hub.faults.hold_at = 100_000
    first = start(to, env_of(hub, POD_NAME="first-pod"), chunk_bytes=CHUNK)
    wait_until_sent(hub, first, 100_000)
    port = free_port()
    second = start(to, env_of(hub, POD_NAME="second-pod"), chunk_bytes=CHUNK, port=port)
    look = {}
    while "first-pod" not in look.get("waiting_for", ""):
        assert second.poll() is None, second.communicate()[1]
        try:
            look = json.loads(get(port, "/fetch"))
        except OSError:
            time.sleep(0.02)
    assert look["state"] == "waiting"
    hub.faults.hold_at = None
    logs = [process.communicate(timeout=30)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), logs
    assert "fetched by another pod" in logs[1]
    assert hub.sent == sum(map(len, needed(hub.files).values()))
    assert content(to) == needed(hub.files)


def test_when_the_holder_dies_the_next_goes_on_from_there(hub, to):
    hub.faults.hold_at = 1_000_000
    first = start(to, env_of(hub, POD_NAME="first-pod"), chunk_bytes=CHUNK)
    wait_until_sent(hub, first, 1_000_000)
    second = start(to, env_of(hub, POD_NAME="second-pod"), chunk_bytes=CHUNK)
    first.kill()
    first.communicate()
    hub.faults.hold_at = None
    _, log = second.communicate(timeout=30)
    assert second.returncode == 0, log
    assert content(to) == needed(hub.files)
    assert hub.sent < 1.6 * sum(map(len, needed(hub.files).values()))


def test_where_locks_lock_nothing_two_cost_bandwidth_only(hub, to):
    hub.faults.delay = 0.01
    both = [start_without_locks(to, env_of(hub), chunk_bytes=CHUNK) for _ in range(2)]
    logs = []
    for process in both:
        logs.append(process.communicate(timeout=30)[1])
        assert content(to) in ({}, needed(hub.files)), "a complete model or none"
    assert {process.returncode for process in both} <= {0, 1}, logs
    code, log = fetch(to, env_of(hub))  # as the kubelet starts again who failed
    assert (code, content(to)) == (0, needed(hub.files)), (log, logs)


def test_progress_over_http(hub, to):
    hub.faults.hold_at = 1_000_000
    port = free_port()
    process = start(to, env_of(hub), chunk_bytes=CHUNK, port=port)
    wait_until_sent(hub, process, 1_000_000)
    look, metrics = json.loads(get(port, "/fetch")), get(port, "/metrics")
    assert get(port, "/healthz") == "ok\n"
    process.terminate()
    process.communicate(timeout=10)
    total = sum(map(len, needed(hub.files).values()))
    assert (look["state"], look["total"]) == ("fetching", total)
    assert 0 < look["bytes"] < total
    assert look["bytes_per_s"] > 0
    assert look["seconds_left"] > 0
    assert look["file"].endswith(".safetensors")
    told = dict(line.split() for line in metrics.splitlines() if not line.startswith("#"))
    assert float(told["manta_engine_fetch_total_bytes"]) == total
    assert 0 < float(told["manta_engine_fetch_bytes"]) < total
    assert float(told["manta_engine_fetch_seconds"]) > 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB, and the command to mount it again with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        return subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False, capture_output=True, text=True
        )

    made = mount("size=4m")
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.strip()}")
    yield folder, mount
    subprocess.run(["umount", folder], check=True)


def test_a_disk_without_room_is_told_before_the_start(small_disk):
    folder, _ = small_disk
    with FakeHub(model(5_000_000)) as hub:
        code, log = fetch(folder / "KEY", env_of(hub))
        assert code == 3
        assert "spec.model.cache" in log.splitlines()[-1]
        assert hub.sent == 0


def test_a_disk_that_fills_up_meanwhile(small_disk):
    """The other pods of the node write, too: the room that was there at the start is gone."""
    folder, mount = small_disk
    mount("remount,size=40m")
    to = folder / "KEY"
    with FakeHub(model(5_000_000)) as hub:
        hub.faults.hold_at = 500_000
        process = start(to, env_of(hub), chunk_bytes=CHUNK)
        wait_until_sent(hub, process, 500_000)
        with (folder / "somebody-else").open("wb") as other:
            try:
                while True:
                    other.write(bytes(65536))
                    other.flush()
            except OSError:
                pass
        hub.faults.hold_at = None
        _, log = process.communicate(timeout=20)
        assert process.returncode == 3, log
        assert "is full" in log.splitlines()[-1]
        assert not to.exists()
        (folder / "somebody-else").unlink()
        code, log = fetch(to, env_of(hub), chunk_bytes=CHUNK)
        assert (code, content(to)) == (0, needed(hub.files)), log


def test_a_read_only_cache(small_disk, hub):
    folder, _ = small_disk
    assert subprocess.run(["mount", "-o", "remount,ro", folder], check=False).returncode == 0
    code, log = fetch(folder / "KEY", env_of(hub))
    assert code == 3
    assert "read-only" in log.splitlines()[-1]


def test_a_cache_of_somebody_else(hub, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir(mode=0o555)
    # Root writes everywhere by a capability, which is taken from it here.
    weaker = ["setpriv", "--bounding-set=-dac_override"] if os.getuid() == 0 else []
    if weaker and not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and there is no setpriv")
    words = [*weaker, *command(folder / "KEY")]
    done = subprocess.run(words, check=False, env=env_of(hub), capture_output=True, text=True, timeout=30)
    assert done.returncode == 3, done.stderr
    assert "fsGroup" in done.stderr.splitlines()[-1]
