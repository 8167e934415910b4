"""File names of strangers."""

import pytest

from manta_runtime.models.failure import PermanentError
from manta_runtime.models.names import MAX_FILES, check_names

BAD = {
    "parent": "../x",
    "parent inside": "a/../../x",
    "absolute": "/etc/passwd",
    "empty part": "a//b",
    "dot": "./a",
    "trailing slash": "a/",
    "nothing": "",
    "nul": "a\0b",
    "newline": "a\nb",
    "backslash": "..\\x",
    "own list": ".manta-model.json",
    "too long a part": "a" * 256,
    "too long": "/".join(["abcdefgh"] * 200),
    "surrogate": "a\ud800",
}


@pytest.mark.parametrize("name", BAD.values(), ids=BAD)
def test_bad_names(name):
    with pytest.raises(PermanentError, match="it is not fetched"):
        check_names(["config.json", name], "hf://a/b")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Config.json", "config.json"], "case only"),
        (["STRASSE", "straße"], "case only"),
        (["a", "a/b"], "needs a folder"),
        (["a/b/c", "A"], "needs a folder"),
        ([str(number) for number in range(MAX_FILES + 1)], "more than"),
    ],
    ids=["case", "folded", "file and folder", "file and folder in another case", "too many"],
)
def test_names_that_meet(names, words):
    with pytest.raises(PermanentError, match=words):
        check_names(names, "hf://a/b")


def test_good_names():
    check_names(["config.json", "a/b.json", "a/c.json", "..a", "ü.txt", "a b.txt"], "hf://a/b")
