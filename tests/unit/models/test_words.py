"""What people read of a fetch that fails: the field of the spec that asked for it, and no secrets."""

from pathlib import Path
from threading import Event
from types import SimpleNamespace

import certifi
import pytest

from manta_runtime.models.adapters_list import ListFile, WantedAdapter
from manta_runtime.models.adapters_run import Fetcher
from manta_runtime.models.adapters_told import read_told
from manta_runtime.models.buckets import Bucket
from manta_runtime.models.failure import PermanentError
from manta_runtime.models.fetch import _leave_word, connect
from manta_runtime.models.files import Listing, RemoteFile
from manta_runtime.models.hub import Hub
from manta_runtime.models.job import _fetch
from manta_runtime.models.progress import Progress
from manta_runtime.models.settings import Asked, FetchSettings, parse_uri
from manta_runtime.models.staging import Staging

SQL = Asked("spec.model.adapters[sql]", "hub")
SIGNED = "GET https://user:pw@cdn/x?X-Amz-Signature=deadbeef&X-Amz-Credential=AKIA of hf_a-secret-token failed"


@pytest.mark.parametrize(
    ("asked", "field", "secret"),
    [
        (Asked(), "spec.model.uri", "the Secret named by spec.model.credentialsSecret"),
        (SQL, "spec.model.adapters[sql].uri", "Secret hub"),
        (
            Asked("spec.model.adapters[a]"),
            "spec.model.adapters[a].uri",
            "named by spec.model.adapters[a].credentialsSecret",
        ),
    ],
    ids=["model", "adapter", "adapter without a Secret"],
)
def test_a_failure_points_to_what_asked_for_it(monkeypatch, asked, field, secret):
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    hub = Hub("o/a", "", "http://127.0.0.1:9", "", 1, asked)
    bucket = Bucket(parse_uri("s3://models/x"), {}, asked)
    for words in (hub._not_found("x", 404), str(bucket._by_status("x", 404, listing=True))):
        assert f"check {field}" in words
    for words in (hub._not_found("x", 404), str(bucket._by_status("x", 403, listing=True))):
        assert secret in words
    settings = FetchSettings(parse_uri("hf://o/a"), "", Path("/c/a"), "127.0.0.1", 0, "me", asked=asked)
    with pytest.raises(PermanentError) as error:
        connect(settings, {"HF_TOKEN": "two words"})
    assert f"{secret} is no token" in str(error.value)


def test_the_container_says_for_which_adapter_it_fetches():
    fetcher = Fetcher(ListFile(Path("/l")), Path("/told"), Path("/s"), "127.0.0.1", {})
    adapter = WantedAdapter("sql", "k", Path("/c/k"), True, "hf://o/a", secret="hub")
    words = fetcher._command(adapter)
    assert {f"--field={SQL.field}", f"--secret={SQL.secret}"} <= set(words)
    bare = WantedAdapter("sql", "k", Path("/c/k"), True, "hf://o/a")
    assert not [word for word in fetcher._command(bare) if word.startswith("--secret")]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PermanentError(SIGNED),
            "GET https://***@cdn/x?X-Amz-Signature=***&X-Amz-Credential=*** of *** failed",
        ),
        (RuntimeError(SIGNED), "a bug of the fetch (RuntimeError): see the log of the container adapters"),
    ],
    ids=["ours", "a library's"],
)
def test_what_is_told_has_no_secrets(tmp_path, error, words):
    progress, told = Progress(), tmp_path / "k.json"
    progress.enter("failed")
    _leave_word(SimpleNamespace(told=told), progress, {"HF_TOKEN": "hf_a-secret-token"}, error)
    assert (read_told(told).state, read_told(told).message) == ("failed", words)


def test_what_has_no_configuration_at_all_is_told_as_no_adapter(tmp_path):
    settings = FetchSettings(parse_uri("hf://o/a"), "", tmp_path / "k", "127.0.0.1", 0, "me", adapter=True)
    source = SimpleNamespace(listing=lambda: Listing("c0ffee", (RemoteFile("adapter_model.safetensors", 1),)))
    with pytest.raises(PermanentError, match=r"has no adapter_config\.json at its top, so it is no LoRA adapter"):
        _fetch(settings, Staging(settings.to, settings.chunk), Progress(), Event(), source)
