"""What the container that fetches adapters reads, decides and tells: lists, secrets, tries, files."""

import json
import re
from pathlib import Path

import pytest

from manta_runtime.models.adapters_list import AdapterList, ListFile, WantedAdapter, parse_list, read_mounts
from manta_runtime.models.adapters_plan import Failure, after_failure, to_end, to_start
from manta_runtime.models.adapters_secrets import NoCredentialsError, environment_of
from manta_runtime.models.adapters_told import Told, read_told, told_file, write_told
from manta_runtime.models.failure import PermanentError
from manta_runtime.models.files import RemoteFile
from manta_runtime.models.selection import check_adapter

ENTRY = {"name": "poet", "key": "poet-1", "path": "/c/poet-1", "fetch": True, "uri": "hf://o/poet", "revision": None}
POET = WantedAdapter("poet", "poet-1", Path("/c/poet-1"), True, "hf://o/poet")


def listed(*entries, **more):
    return json.dumps({"hash": "abc", "adapters": [ENTRY | entry for entry in entries]} | more)


def adapter(name, **more):
    return WantedAdapter(
        **{"name": name, "key": name, "path": Path("/c") / name, "fetch": True, "uri": "hf://o/a"} | more
    )


def test_a_list_is_read_as_the_operator_writes_it():
    more = {"name": "b", "key": "b", "endpoint": "http://h", "region": "eu", "secret": "s", "fetch": False, "later": 1}
    found = parse_list(listed({}, more))
    assert found.hash == "abc"
    assert found.adapters[0] == POET
    assert found.adapters[1] == WantedAdapter(
        "b", "b", Path("/c/poet-1"), False, "hf://o/poet", "", "http://h", "eu", "s"
    )
    assert parse_list('{"hash": "x", "adapters": []}') == AdapterList("x", ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no object with a list"),
        ('{"adapters": {}}', "no object with a list"),
        ('{"adapters": [5]}', "adapters[0] is no object"),
        (listed({}, {}), "two adapters of one name"),
        (listed({"name": ""}), "adapters[0] has no name"),
        (listed({"name": 5}), "adapters[0].name is no text"),
        (listed({"name": "a\nb"}), "adapters[0].name is no text"),
        (listed({"key": "../x"}), "adapters[0].key is no name of a folder"),
        (listed({"key": ".x"}), "adapters[0].key is no name of a folder"),
        (listed({"path": "c/x"}), "adapters[0].path is no absolute path"),
        (listed({"path": "/c/../x"}), "adapters[0].path is no absolute path"),
        (listed({"secret": "../../etc"}), "adapters[0].secret is no name of a Secret"),
        (listed(*({"name": f"n{n}"} for n in range(101))), "more than 100 adapters"),
    ],
)
def test_what_no_operator_writes_is_refused(text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_list(text)


def test_a_file_that_cannot_be_read_leaves_the_list_and_says_so_once(tmp_path, caplog):
    path = tmp_path / "adapters.json"
    file = ListFile(path)
    assert file.look() == AdapterList()
    assert "there is no such file" in caplog.text
    path.write_text(listed({}))
    assert file.look().adapters == (POET,)
    caplog.clear()
    for trouble in (lambda: path.write_text("{"), path.unlink, path.mkdir):
        trouble()
        assert file.look().adapters == file.look().adapters == (POET,)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    assert all("the list of before stays, with 1 adapters" in line for line in said)


def test_where_there_are_no_mount_namespaces_paths_are_where_the_box_says(tmp_path):
    path = tmp_path / "adapters.json"
    path.write_text(listed({}, {"name": "b", "key": "b", "path": "/cc/b"}))
    mounts = read_mounts('{"/": "/no", "/c": "/real/c", "/c/poet-1": "/real/deeper"}')
    assert [str(each.path) for each in ListFile(path, mounts).look().adapters] == ["/real/deeper", "/no/cc/b"]
    for nothing in ("", "[]", "{", "5"):
        assert read_mounts(nothing) == {}


def test_a_fetch_has_its_own_secret_and_no_other_credentials(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/HF_TOKEN").write_text("mine\n")
    (tmp_path / "s/AWS_ACCESS_KEY_ID").write_text("not of a hub")
    pod = {"HF_TOKEN": "the models", "AWS_SECRET_ACCESS_KEY": "k", "HF_ENDPOINT": "http://model", "NO_PROXY": "*"}
    assert environment_of(adapter("a", secret="s"), pod, tmp_path) == {
        "HF_TOKEN": "mine",
        "HF_ENDPOINT": "http://model",
        "NO_PROXY": "*",
    }
    found = environment_of(adapter("a", uri="s3://b/c", endpoint="http://store", region="eu"), pod, tmp_path)
    assert found == {
        "HF_ENDPOINT": "http://model",
        "AWS_ENDPOINT_URL": "http://store",
        "AWS_REGION": "eu",
        "NO_PROXY": "*",
    }


def test_a_secret_that_is_not_there_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    for secret in ("none", "empty"):
        with pytest.raises(NoCredentialsError, match=f"Secret {secret}, .* AWS_ACCESS_KEY_ID nor "):
            environment_of(adapter("a", uri="s3://b/c", secret=secret), {}, tmp_path)


def test_two_fetches_run_at_once_and_each_key_once():
    missing = [adapter("a"), adapter("b", key="a"), adapter("c"), adapter("d")]
    assert [each.name for each in to_start(missing, (), {}, 0)] == ["a", "c"]
    assert [each.name for each in to_start(missing, ("a",), {}, 0)] == ["c"]
    assert to_start(missing, ("a", "c"), {}, 0) == ()
    assert [each.name for each in to_start(missing, (), {"a": Failure(1, 5)}, 4)] == ["c", "d"]
    assert [each.name for each in to_start(missing, (), {"a": Failure(1, 5)}, 5)] == ["a", "c"]
    assert to_end(("a", "x"), missing) == ("x",)


def test_failures_wait_longer_and_longer_and_permanent_ones_ten_minutes():
    waits, failure = [], None
    for _ in range(8):
        failure = after_failure(failure, permanent=False, now=100)
        waits.append(failure.again - 100)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]
    assert after_failure(None, permanent=True, now=100).again == 700


def test_what_is_told_can_be_read_and_what_is_strange_tells_nothing(tmp_path):
    path = told_file(tmp_path / "new", "a")
    for told in (Told("fetching", 1, None), Told("fetched"), Told("failed", 1, 2, "no room")):
        write_told(path, told)
        assert read_told(path) == told
    write_told(path, Told("failed", message="x" * 5000))
    assert len(read_told(path).message) == 500
    assert list(path.parent.iterdir()) == [path]
    for text in ("", "[]", "{}", '{"state": "lost"}', '{"state": "failed", "bytes": "5"}', '{"state": []}', "[" * 9999):
        path.write_text(text)
        assert read_told(path) is None, text
    assert read_told(tmp_path / "none") is None


def test_a_model_is_no_adapter():
    check_adapter([RemoteFile("adapter_config.json", 1, "size", "")], "hf://o/a")
    with pytest.raises(
        PermanentError, match=r"hf://o/a has no adapter_config\.json at its top, so it is no LoRA adapter"
    ):
        check_adapter([RemoteFile("x/adapter_config.json", 1, "size", "")], "hf://o/a")
