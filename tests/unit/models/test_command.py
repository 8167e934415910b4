"""The command line of the fetch: what is refused before anything is done, and a complete cache."""

import sys

import pytest
from click.testing import CliRunner

from manta_runtime.main import main
from manta_runtime.models.files import RemoteFile
from manta_runtime.models.manifest import Manifest

GOOD = {"--uri": "hf://a/b", "--to": "/cache/KEY", "--pod-ip": "127.0.0.1"}


def run(**changes):
    words = {**GOOD, **{f"--{name.replace('_', '-')}": value for name, value in changes.items()}}
    return CliRunner().invoke(main, ["fetch", *(f"{name}={value}" for name, value in words.items())])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"uri": "ftp://x"}, "expected hf://"),
        ({"to": "cache/KEY"}, "absolute path"),
        ({"pod_ip": "0.0.0.0"}, "not all of them"),
        ({"uri": "s3://bucket/x", "revision": "v1"}, "no revisions"),
        ({"control_port": "65536"}, "control-port"),
    ],
    ids=["uri", "target", "address", "revision of a bucket", "port"],
)
def test_refused(changes, words):
    result = run(**changes)
    assert result.exit_code == 2
    assert words in result.output


def test_a_complete_cache_loads_no_library_that_talks(tmp_path):
    (tmp_path / "KEY").mkdir()
    (tmp_path / "KEY/config.json").write_text("{}")
    manifest = Manifest("hf://a/b", "", "c0ffee", (RemoteFile("config.json", 2),))
    (tmp_path / "KEY/.manta-model.json").write_text(manifest.text())
    before = set(sys.modules)
    result = run(to=tmp_path / "KEY")
    assert result.exit_code == 0
    assert "is complete" in result.output
    assert not {"manta_runtime.models.fetch", "huggingface_hub", "obstore"} & (set(sys.modules) - before)
