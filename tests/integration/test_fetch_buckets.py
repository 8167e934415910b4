"""`manta-runtime fetch` from buckets: moto as a real S3, and for the faults a fake of what S3 and GCS share."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from fetch_store import FakeStore, goog_hash, multipart_etag
from fetching import ROOT, content, environ, fetch, model, needed

MOTO = Path(os.environ.get("MOTO_SERVER", ROOT / "build/moto/bin/moto_server"))
HOW = "python3.11 -m venv build/moto && build/moto/bin/pip install 'moto[s3]' flask flask-cors"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLEKEY", "AWS_SECRET_ACCESS_KEY": "a-very-secret-key", "AWS_REGION": "us-east-1"}
S3, GS = "s3://models/llama/8b", "gs://models/llama/8b"
PART = 5 * 1024 * 1024


@pytest.fixture
def to(tmp_path):
    return tmp_path / "models/KEY"


@pytest.fixture
def store():
    with FakeStore(below(model())) as store:
        yield store


def below(files, prefix="llama/8b/"):
    return {prefix + name: data for name, data in files.items()}


def s3_env(store, **more):
    return environ(**{**KEYS, "AWS_ENDPOINT_URL": store.endpoint, **more})


def gs_env(store, **more):
    return environ(GOOGLE_BASE_URL=store.endpoint, GOOGLE_SKIP_SIGNATURE="true", **more)


@pytest.fixture(scope="module")
def moto():
    if not MOTO.exists():
        pytest.skip(f"no moto server at {MOTO}: {HOW}")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen([MOTO, "-H", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        wait_for(endpoint)
        yield endpoint
    finally:
        server.terminate()
        server.wait(10)


def wait_for(endpoint):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=2).close()
        except OSError:
            time.sleep(0.1)  # a server of others tells nobody when it listens
        else:
            return
    pytest.fail("the moto server did not start within 20 s")


def put(moto, files, bucket, chunk=None):
    """Upload with obstore, in parts where a chunk size is given."""
    import obstore
    from obstore.store import S3Store

    urllib.request.urlopen(urllib.request.Request(f"{moto}/{bucket}", method="PUT")).close()
    store = S3Store(
        bucket,
        config={"endpoint": moto, "access_key_id": "x", "secret_access_key": "y", "region": "us-east-1"},
        client_options={"allow_http": True},
    )
    for name, data in files.items():
        more = {"use_multipart": True, "chunk_size": chunk} if chunk and len(data) > chunk else {}
        obstore.put(store, name, data, **more)


def test_a_real_s3(moto, to):
    env = environ(**KEYS, AWS_ENDPOINT_URL=moto)
    files = {**model(6_000_000, 1), "odd ü+%20&=#name.txt": b"odd"}
    put(moto, below(files), "moto-models", PART)
    for marker in ("llama/8b/", "llama/8b/onnx/"):  # as the console makes them
        urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-models/{marker}", method="PUT", data=b"")).close()
    code, log = fetch(to, env, uri="s3://moto-models/llama/8b", chunk_bytes=1_000_000)
    assert (code, content(to)) == (0, needed(files)), log
    kinds = {file["path"]: file["kind"] for file in json.loads((to / ".manta-model.json").read_text())["files"]}
    assert kinds["model-1-of-1.safetensors"] == "md5-parts"
    assert kinds["config.json"] == "md5"
    assert "no usual size" not in log, "the ETag of the parts was verified"


@pytest.mark.parametrize(
    ("uri", "words"),
    [("s3://moto-nothing/x", "there is no bucket moto-nothing"), ("s3://moto-empty/x", "nothing is there")],
    ids=["bucket", "prefix"],
)
def test_a_real_s3_without_it(moto, to, uri, words):
    env = environ(**KEYS, AWS_ENDPOINT_URL=moto)
    put(moto, {"other": b"x"}, "moto-empty")
    code, log = fetch(to, env, uri=uri)
    assert code == 3
    assert words in log.splitlines()[-1]


@pytest.mark.parametrize(("uri", "env_of"), [(S3, s3_env), (GS, gs_env)], ids=["s3", "gs"])
def test_brings_what_is_needed_and_then_needs_no_network(store, to, uri, env_of):
    code, log = fetch(to, env_of(store), uri=uri, chunk_bytes=65536)
    assert (code, content(to)) == (0, needed(model())), log
    asked = len(store.requests)
    assert fetch(to, env_of(store), uri=uri)[0] == 0
    assert len(store.requests) == asked


@pytest.mark.parametrize(("uri", "env_of"), [(S3, s3_env), (GS, gs_env)], ids=["s3", "gs"])
@pytest.mark.parametrize("status", [401, 403])
def test_refused_at_once(store, to, uri, env_of, status):
    store.status = status
    code, log = fetch(to, env_of(store), uri=uri)
    last = log.splitlines()[-1]
    assert code == 3
    assert str(status) in last
    assert ("AWS_SECRET_ACCESS_KEY" if uri == S3 else "GOOGLE_SERVICE_ACCOUNT_KEY") in last
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in log
    assert KEYS["AWS_ACCESS_KEY_ID"] not in log
    assert len(store.requests) == 1


def test_server_errors_and_cut_connections_are_waited_out(store, to):
    store.statuses = [500, 503, 429]
    store.cut = 3
    code, log = fetch(to, s3_env(store), uri=S3)
    assert (code, content(to)) == (0, needed(model())), log


def test_the_server_of_the_pods_identity_is_waited_for(store, to):
    env = s3_env(store, AWS_METADATA_ENDPOINT="http://127.0.0.1:9")
    del env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]
    code, log = fetch(to, env, uri=S3, retry_seconds=1)
    assert code == 1, "not 3: it may start after the pod"
    assert "AWS_SECRET_ACCESS_KEY" in log.splitlines()[-1]
    assert "given up after" in log.splitlines()[-1]


def test_no_identity(store, to):
    with FakeStore({}) as metadata:  # answers 404
        env = s3_env(store, AWS_METADATA_ENDPOINT=metadata.endpoint)
        del env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]
        code, log = fetch(to, env, uri=S3)
    assert code == 3
    assert "no credentials" in log.splitlines()[-1]


def test_nobody_there(to):
    env = environ(**KEYS, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    code, log = fetch(to, env, uri=S3, retry_seconds=1)
    assert code == 1
    assert "AWS_ENDPOINT_URL" in log.splitlines()[-1]


def test_an_object_that_changes_meanwhile_is_never_mixed(store, to):
    new = model(300_000)["model-2-of-2.safetensors"]
    store.change_after = (4, "llama/8b/model-1-of-2.safetensors", new)
    code, log = fetch(to, s3_env(store), uri=S3, chunk_bytes=65536, parallel=2)
    assert (code, content(to)) == (0, {**needed(model()), "model-1-of-2.safetensors": new}), log
    assert "changed during the fetch" in log


def test_an_object_that_changes_after_it_was_fetched_is_never_mixed(store, to):
    store.change_after = (4, "llama/8b/tokenizer.json", b"[]" * 500)  # small files come first: it is there by then
    code, log = fetch(to, s3_env(store), uri=S3, parallel=1)
    assert (code, content(to)) == (0, {**needed(model()), "tokenizer.json": b"[]" * 500}), log
    assert "tokenizer.json of s3://models/llama/8b: changed during the fetch" in log


def test_what_was_left_of_another_version_is_not_used(store, to):
    store.statuses = [500] * 200
    assert fetch(to, s3_env(store), uri=S3, chunk_bytes=65536, retry_seconds=1)[0] == 1
    store.statuses = []
    new = model(300_000)["model-2-of-2.safetensors"]
    store.objects["llama/8b/model-1-of-2.safetensors"] = new
    code, log = fetch(to, s3_env(store), uri=S3, chunk_bytes=65536)
    assert (code, content(to)["model-1-of-2.safetensors"]) == (0, new), log


def test_wrong_etags(store, to):
    store.etags["llama/8b/config.json"] = '"' + "0" * 32 + '"'
    code, log = fetch(to, s3_env(store), uri=S3)
    assert code == 3
    assert "md5" in log.splitlines()[-1]
    assert not to.exists()


def test_etags_under_encryption_are_no_hashes(store, to):
    store.etags["llama/8b/config.json"] = '"' + "0" * 32 + '"'
    store.headers["llama/8b/config.json"] = {"x-amz-server-side-encryption": "aws:kms"}
    code, log = fetch(to, s3_env(store), uri=S3)
    assert (code, content(to)) == (0, needed(model())), log
    assert "encrypts it" in log


def test_etags_of_parts(to):
    files = model(6_000_000, 1)
    with FakeStore(below(files)) as store:
        name = "llama/8b/model-1-of-1.safetensors"
        store.etags[name] = multipart_etag(store.objects[name], PART)
        code, log = fetch(to, s3_env(store), uri=S3)
        assert (code, content(to)) == (0, needed(files)), log
        assert "no usual size" not in log


def test_composite_objects_of_gcs_have_a_checksum(store, to, service_account):
    name = "llama/8b/model-1-of-2.safetensors"
    store.etags[name] = '"CKicn4fknaoDEAI="'
    store.headers[name] = goog_hash(store.objects[name])
    env = gs_env(store, GOOGLE_SERVICE_ACCOUNT_KEY=service_account(store.endpoint))
    code, log = fetch(to, env, uri=GS)
    assert (code, content(to)) == (0, needed(model())), log
    kinds = {file["path"]: file["kind"] for file in json.loads((to / ".manta-model.json").read_text())["files"]}
    assert kinds["model-1-of-2.safetensors"] == "crc32c"


@pytest.fixture
def service_account():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    def make(endpoint):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        account = {"private_key": key.decode(), "private_key_id": "1", "client_email": "a@b", "gcs_base_url": endpoint}
        return json.dumps({**account, "type": "service_account", "disable_oauth": False})

    return make


def test_many_objects_come_in_pages(to):
    files = {**model(), **{f"vocabulary/{number}.txt": b"x" for number in range(250)}}
    with FakeStore(below(files)) as store:
        code, log = fetch(to, s3_env(store), uri=S3)
    assert (code, content(to)) == (0, needed(files)), log


def test_markers_of_folders_are_no_files(store, to):
    store.objects.update({"llama/8b": b"", "llama/8b/sub": b"", "llama/8b/sub/vocabulary.txt": b"x"})
    code, log = fetch(to, s3_env(store), uri=S3)
    assert (code, content(to)) == (0, {**needed(model()), "sub/vocabulary.txt": b"x"}), log


def test_a_key_that_is_no_key(store, to):
    code, log = fetch(to, gs_env(store, GOOGLE_SERVICE_ACCOUNT_KEY="{not json"), uri=GS)
    assert code == 3
    assert "GOOGLE_SERVICE_ACCOUNT_KEY" in log.splitlines()[-1]
    assert "not json" not in log


def test_no_configuration(to):
    with FakeStore(below({"model.safetensors": b"x", "other/config.json": b"{}"})) as store:
        code, log = fetch(to, s3_env(store), uri=S3)
    assert code == 3
    assert "config.json" in log.splitlines()[-1]
