"""Ranks that have fetched different models do not make one engine."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from manta_runtime.engine.group import Group, JoinRequest, join, parse_join
from manta_runtime.engine.model_revision import model_revision
from manta_runtime.models.files import RemoteFile
from manta_runtime.models.manifest import Manifest
from manta_runtime.models.names import MANIFEST

FILE = RemoteFile("model.safetensors", 8, "md5", "d1", "e1")


def revision_of(folder, resolved="", files=(FILE,)) -> str:
    (folder / MANIFEST).write_text(Manifest("s3://b/m", "", resolved, files).text())
    return model_revision(SimpleNamespace(model=str(folder), model_is_local=True))


def test_a_hub_has_its_commit_and_a_bucket_the_hash_of_its_files(tmp_path):
    other = replace(FILE, path="config.json")
    assert revision_of(tmp_path, resolved="c0ffee") == "c0ffee"
    both = revision_of(tmp_path, files=(FILE, other))
    assert both.startswith("sha256:")
    assert both == revision_of(tmp_path, files=(other, FILE)), "their order is none of theirs"
    assert both != revision_of(tmp_path, files=(replace(FILE, etag="e2", digest="d2"), other))


def test_a_model_that_no_fetch_has_made_has_none(tmp_path):
    assert model_revision(SimpleNamespace(model=str(tmp_path), model_is_local=True)) == ""
    assert model_revision(SimpleNamespace(model="org/tiny", model_is_local=False)) == ""


@pytest.mark.parametrize(
    ("ours", "theirs", "fits"), [("a", "a", True), ("", "a", True), ("a", "", True), ("a", "b", False)]
)
def test_another_model_is_refused_and_loses_the_group(ours, theirs, fits):
    group = Group(epoch="e", size=2, pod_prefix="tiny-0", model=ours)
    body = {"rank": 1, "podIp": "", "podName": "tiny-0-1", "epoch": "", "instance": "i", "stage": "waiting"}
    request = parse_join({**body, "model": theirs})
    assert isinstance(request, JoinRequest)
    group, refusal = join(group, request, 0.0)
    assert (refusal is None) == fits
    assert bool(group.lost) != fits
    if refusal:
        assert refusal.status == 412
        assert "rank 1 (tiny-0-1) has model b, rank 0 has a" in refusal.message
