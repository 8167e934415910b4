"""`manta-runtime fetch` from a hub: the command as a process, the hub on a local port, with what goes wrong between."""

import functools
import http.server
import json
import re
import signal
import threading
import time

import pytest
from fetch_hub import COMMIT, FakeHub
from fetching import content, env_of, environ, fetch, model, needed, safetensors, start

TOKEN = "hf_a-secret-of-somebody"
CHUNK = 65536


@pytest.fixture
def hub():
    with FakeHub(model()) as hub:
        yield hub


@pytest.fixture
def to(tmp_path):
    return tmp_path / "models/KEY"


def test_brings_what_is_needed_and_then_needs_no_network(hub, to):
    code, log = fetch(to, env_of(hub))
    assert (code, content(to)) == (0, needed(hub.files)), log
    manifest = json.loads((to / ".manta-model.json").read_text())
    assert (manifest["uri"], manifest["resolved"]) == ("hf://org/model", COMMIT)
    kinds = {file["path"]: file["kind"] for file in manifest["files"]}
    assert kinds["config.json"] == "git-sha1"
    assert kinds["model-1-of-2.safetensors"] == "sha256"
    asked = len(hub.requests)
    started = time.monotonic()
    assert fetch(to, environ(HF_ENDPOINT="http://127.0.0.1:9"))[0] == 0
    assert time.monotonic() - started < 1.5, "a complete cache answers at once, whatever the machine does besides"
    assert len(hub.requests) == asked
    assert sorted(path.name for path in to.parent.iterdir()) == [".KEY.lock", "KEY"]


def test_a_token_goes_to_the_hub_only_and_never_into_the_log(to):
    with FakeHub(model(), token=TOKEN) as hub:
        hub.faults.statuses = [500]
        code, log = fetch(to, env_of(hub, HF_TOKEN=TOKEN + "\n"))  # as `echo TOKEN | base64` makes it
    assert (code, content(to)) == (0, needed(hub.files)), log
    assert not hub.leaked
    assert TOKEN not in log
    assert "s3cr3t-signature" not in log


@pytest.mark.parametrize(
    ("token", "words"), [("", "HF_TOKEN"), ("hf_wrong-token", "accept its licence")], ids=["no token", "gated"]
)
def test_refused_at_once(to, token, words):
    with FakeHub(model(), token=TOKEN) as hub:
        code, log = fetch(to, env_of(hub, HF_TOKEN=token))
    assert code == 3, log
    assert words in log.splitlines()[-1]
    assert "spec.model.credentialsSecret" in log.splitlines()[-1]
    assert len(hub.requests) == 1
    assert not token or token not in log


@pytest.mark.parametrize("token", ["\u201chf_abc\u201d", "hf_a\nhf_b", "hf_a hf_b"], ids=["quotes", "newline", "space"])
def test_what_is_no_token_is_told_at_once(hub, to, token):
    code, log = fetch(to, env_of(hub, HF_TOKEN=token))
    assert code == 3
    assert "key HF_TOKEN of the Secret named by spec.model.credentialsSecret is no token" in log.splitlines()[-1]
    assert "hf_a" not in log
    assert hub.requests == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"uri": "hf://org/other"}, "check spec.model.uri"),
        ({"revision": "v9"}, "check spec.model.revision"),
        ({"revision": "v9", "field": "spec.model.adapters[sql]"}, "check spec.model.adapters[sql].revision"),
    ],
    ids=["repository", "revision", "revision of an adapter"],
)
def test_what_is_not_there_ends_at_once(hub, to, options, words):
    code, log = fetch(to, env_of(hub), **options)
    assert code == 3
    assert words in log.splitlines()[-1]


def test_nobody_there(to):
    code, log = fetch(to, environ(HF_ENDPOINT="http://127.0.0.1:9"), retry_seconds=1)
    assert code == 1
    assert "HF_ENDPOINT" in log.splitlines()[-1]
    assert "given up after" in log.splitlines()[-1]


def test_certificates_that_cannot_be_read(to):
    code, log = fetch(to, environ(HF_ENDPOINT="https://127.0.0.1:9", SSL_CERT_FILE="/nowhere.pem"))
    assert code == 3
    assert "check /nowhere.pem" in log.splitlines()[-1]


def test_cut_connections_go_on_inside_the_file(hub, to):
    hub.faults.cut_after = {"model-1-of-2.safetensors": 3, "config.json": 1}
    code, log = fetch(to, env_of(hub))
    assert (code, content(to)) == (0, needed(hub.files)), log
    assert hub.sent < sum(map(len, needed(hub.files).values())) * 1.5, "what had arrived was not sent again"


def test_server_errors_and_rate_limits_are_waited_out(hub, to):
    hub.faults.statuses = [500, 429, 503]
    hub.faults.retry_after = 1
    started = time.monotonic()
    code, log = fetch(to, env_of(hub), parallel=1)
    assert (code, content(to)) == (0, needed(hub.files)), log
    assert time.monotonic() - started > 3, "Retry-After was asked for three times"


def test_given_up_in_the_end(hub, to):
    hub.faults.statuses = [500] * 1000
    code, log = fetch(to, env_of(hub), retry_seconds=1)
    assert code == 1
    assert "answers 500" in log.splitlines()[-1]
    assert not to.exists()


def test_expired_addresses_are_asked_for_again(hub, to):
    hub.faults.expire = 3
    code, log = fetch(to, env_of(hub), chunk_bytes=CHUNK)
    assert (code, content(to)) == (0, needed(hub.files)), log


def test_wrong_bytes_are_fetched_again(hub, to):
    hub.faults.wrong = {"model-2-of-2.safetensors": 1, "config.json": 1}
    code, log = fetch(to, env_of(hub))
    assert (code, content(to)) == (0, needed(hub.files)), log
    assert len(re.findall("fetched again", log)) == 2


def test_bytes_that_stay_wrong_are_never_served(hub, to):
    hub.faults.wrong = {"model-2-of-2.safetensors": 99}
    code, log = fetch(to, env_of(hub))
    assert code == 3
    assert "sha256" in log.splitlines()[-1]
    assert not to.exists()


def test_a_header_that_disagrees_with_the_size_is_refused(to):
    files = {**model(), "model-1-of-2.safetensors": safetensors(1000)[:-10]}
    with FakeHub(files) as hub:
        code, log = fetch(to, env_of(hub))
    assert code == 3
    assert "header" in log.splitlines()[-1]


@pytest.mark.parametrize(
    "name", ["../../escape.json", "/etc/escape.json", "a//b.json", "CONFIG.json", "config.json/x.txt"]
)
def test_hostile_names_are_refused(to, name):
    with FakeHub({**model(), name: b"x"}) as hub:
        code, log = fetch(to, env_of(hub))
    assert code == 3, log
    assert not list(to.parent.parent.rglob("escape.json"))


def test_repairs_a_damaged_folder(hub, to):
    assert fetch(to, env_of(hub))[0] == 0
    sent = hub.sent
    (to / "config.json").unlink()
    with (to / "model-1-of-2.safetensors").open("r+b") as file:
        file.truncate(100)
    code, log = fetch(to, env_of(hub))
    assert (code, content(to)) == (0, needed(hub.files)), log
    again = len(hub.files["model-1-of-2.safetensors"]) + len(hub.files["config.json"])
    assert hub.sent - sent == again, "only what was damaged is fetched"


def test_a_repair_keeps_the_commit(hub, to):
    assert fetch(to, env_of(hub))[0] == 0
    (to / "config.json").unlink()
    asked = len(hub.requests)
    assert fetch(to, env_of(hub))[0] == 0
    assert any(f"/revision/{COMMIT}" in request for request in hub.requests[asked:])
    assert not any("/revision/main" in request for request in hub.requests[asked:])


def test_a_repair_takes_no_other_commit_when_that_one_is_gone(hub, to):
    assert fetch(to, env_of(hub))[0] == 0
    listed = to / ".manta-model.json"
    listed.write_text(listed.read_text().replace(COMMIT, "0" * 40))
    (to / "config.json").unlink()
    code, log = fetch(to, env_of(hub))
    assert code == 3
    assert "remove its .KEY.partial" in log.splitlines()[-1]


def test_a_foreign_folder_is_left_alone(hub, to):
    to.mkdir(parents=True)
    (to / "mine.txt").write_text("mine")
    code, log = fetch(to, env_of(hub))
    assert code == 3
    assert "Move it" in log.splitlines()[-1]
    assert content(to) == {"mine.txt": b"mine"}


def test_sigterm_ends_soon_when_the_hub_says_nothing(hub, to):
    hub.faults.delay = 60
    process = start(to, env_of(hub))
    while not any("/cdn/" in request for request in hub.requests):
        assert process.poll() is None
        time.sleep(0.02)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=10)
    assert time.monotonic() - asked < 2.5
    assert process.returncode == 143, log


def test_too_many_files_are_no_model(to):
    with FakeHub({**{f"{number}.txt": b"x" for number in range(10_001)}, **model()}) as hub:
        code, log = fetch(to, env_of(hub))
    assert code == 3
    assert "more than 10000 files" in log.splitlines()[-1]


def test_what_answers_is_no_hub(to, tmp_path):
    (tmp_path / "api/models/org/model/revision").mkdir(parents=True)
    (tmp_path / "api/models/org/model/revision/main").write_text("<html>Please log in</html>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code, log = fetch(to, environ(HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}"))
        server.shutdown()
    assert code == 3, log
    assert "is no hub" in log.splitlines()[-1]


def test_sigterm_ends_soon_and_keeps_what_is_there(tmp_path, to):
    with FakeHub(model(2_000_000)) as hub:
        hub.faults.hold_at = 1_000_000
        process = start(to, env_of(hub), chunk_bytes=CHUNK)
        while hub.sent < 1_000_000:
            assert process.poll() is None
            time.sleep(0.02)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=10)
        assert time.monotonic() - asked < 2.5
        assert process.returncode == 143
        assert "kept" in log.splitlines()[-1]
        assert not to.exists()
        sent, hub.faults.hold_at = hub.sent, None
        code, log = fetch(to, env_of(hub), chunk_bytes=CHUNK)
        total = sum(map(len, needed(hub.files).values()))
        assert (code, content(to)) == (0, needed(hub.files)), log
        assert hub.sent - sent < total - 300_000, "the second run fetched what the first had not"
