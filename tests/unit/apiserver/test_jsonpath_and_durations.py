"""What printer columns are read and written with: paths and durations."""

from datetime import timedelta

import pytest

from manta_operator.box.apiserver import durations
from manta_operator.box.apiserver.jsonpath import find, parse


@pytest.mark.parametrize(
    ("ago", "expected"),
    [
        (timedelta(seconds=-5), "<invalid>"),
        (timedelta(seconds=-1), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(seconds=200), "3m20s"),
        (timedelta(minutes=5), "5m"),
        (timedelta(minutes=150, seconds=7), "150m"),
        (timedelta(hours=3, minutes=5), "3h5m"),
        (timedelta(hours=47), "47h"),
        (timedelta(days=5), "5d"),
        (timedelta(days=5, hours=3), "5d3h"),
        (timedelta(days=400), "400d"),
        (timedelta(days=3 * 365 + 2), "3y2d"),
        (timedelta(days=9 * 365 + 2), "9y"),
    ],
)
def test_durations(ago, expected):
    assert durations.duration(ago.total_seconds()) == expected


DOCUMENT = {
    "a": {"b.c/d": 1, "list": [{"n": 1, "t": "x"}, {"n": 2, "t": "y", "on": True}]},
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".a.list[0].t", ["x"]),
        ("{.a.list[-1].t}", ["y"]),
        (".a.list[9].t", []),
        (".a.list[*].n", [1, 2]),
        (".a.*", [1, DOCUMENT["a"]["list"]]),
        (r".a.b\.c/d", [1]),
        (".a['b.c/d']", [1]),
        ('.a.list[?(@.t=="y")].n', [2]),
        (".a.list[?(@.t != 'y')].n", [1]),
        (".a.list[?(@.n>=2)].t", ["y"]),
        (".a.list[?(@.on)].n", [2]),
        (".a.list[?(@.on==true)].n", [2]),
        (".a.list[?(@.t>1)].n", []),
        (".nothing.below", []),
    ],
)
def test_jsonpath(path, expected):
    assert find(path, DOCUMENT) == expected


@pytest.mark.parametrize("path", ["..a", ".a[", "a", ".a[1:2]", ".a[?(@.b=='x'"])
def test_jsonpath_that_is_not_understood_says_where(path):
    with pytest.raises(ValueError, match="is not understood from"):
        parse(path)
