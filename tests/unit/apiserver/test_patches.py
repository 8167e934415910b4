"""The plain patch types, on values alone."""

import pytest

from manta_operator.box.apiserver import kinds
from manta_operator.box.apiserver.patches import json_patch, merge_patch
from manta_operator.box.apiserver.resources import Registry
from manta_operator.box.apiserver.strategic import strategic_merge
from manta_operator.box.cluster import ApiError

POD = kinds.root(Registry().named("Pod"))


def containers(*names):
    return [{"name": name, "image": name} for name in names]


@pytest.mark.parametrize(
    "patch",
    [
        {"op": "add"},
        [3],
    ],
)
def test_what_is_no_json_patch_is_a_bad_request(patch):
    with pytest.raises(ApiError) as caught:
        json_patch({"a": 1}, patch)
    assert caught.value.code == 400


def test_failing_test_names_its_path_and_changes_nothing():
    value = {"a": {"b": 1}}
    patch = [{"op": "replace", "path": "/a/b", "value": 2}, {"op": "test", "path": "/a/b", "value": 3}]
    with pytest.raises(ApiError, match=r"operation 1 of the JSON patch \(test /a/b\) failed") as caught:
        json_patch(value, patch)
    assert caught.value.code == 422
    assert value == {"a": {"b": 1}}


def test_removing_what_is_not_there_fails():
    with pytest.raises(ApiError, match=r"\(remove /x\)") as caught:
        json_patch({}, [{"op": "remove", "path": "/x"}])
    assert caught.value.code == 422


def test_merge_patch_removes_with_null():
    assert merge_patch({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": [1]}}) == {"a": {"c": 2, "d": [1]}}


@pytest.mark.parametrize(
    ("live", "patched", "order", "expected"),
    [
        ("xab", "", "ba", "xba"),  # the server's own stays in front
        ("axb", "", "ab", "axb"),
        ("abx", "", "ba", "bax"),
        ("xa", "b", "ba", "bxa"),
        ("a", "b", "ba", "ba"),
    ],
)
def test_strategic_order_leaves_the_servers_own_in_place(live, patched, order, expected):
    patch = {"containers": containers(*patched), "$setElementOrder/containers": [{"name": name} for name in order]}
    merged = strategic_merge(POD, {"spec": {"containers": containers(*live)}}, {"spec": patch})
    assert "".join(each["name"] for each in merged["spec"]["containers"]) == expected


def test_strategic_merge_changes_one_container_and_deletes_another():
    value = {"spec": {"containers": containers("a", "b", "c")}}
    patch = {"spec": {"containers": [{"name": "b", "image": "new"}, {"name": "c", "$patch": "delete"}]}}
    merged = strategic_merge(POD, value, patch)
    assert merged["spec"]["containers"] == [{"name": "a", "image": "a"}, {"name": "b", "image": "new"}]
