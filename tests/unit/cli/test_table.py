"""Tables: nothing is wider than the terminal, and nothing is folded in a pipe."""

import click
import pytest

from manta_operator.cli.table import Cell, Column, lay_out

COLUMNS = (Column("NAME"), Column("AGE", gives_way=1), Column("URL", gives_way=2), Column("MESSAGE"))
ROW = ("tiny", "5m", "http://127.2.1.1:8000/v1", "one of two replicas serves, the other one waits for its model")


@pytest.mark.parametrize(
    ("case", "width", "expected"),
    [
        ("a pipe", None, ["NAME  AGE  URL                       MESSAGE", "  ".join(ROW)]),
        (
            "room for all, the last folded",
            70,
            [
                "NAME  AGE  URL                       MESSAGE",
                "tiny  5m   http://127.2.1.1:8000/v1  one of two replicas serves, the",
                "                                     other one waits for its model",
            ],
        ),
        (
            "the least important gives way",
            60,
            [
                "NAME  AGE  MESSAGE",
                "tiny  5m   one of two replicas serves, the other one waits",
                "           for its model",
            ],
        ),
        (
            "too narrow for the last column",
            30,
            [
                "NAME  MESSAGE",
                "tiny",
                "    one of two replicas",
                "    serves, the other one",
                "    waits for its model",
            ],
        ),
    ],
)
def test_widths(case, width, expected):
    padded = [line.replace("tiny  5m  http", "tiny  5m   http") for line in expected]
    assert lay_out(COLUMNS, [ROW], width) == padded, case


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width):
    rows = [ROW, ("a-longer-name", "400d", "", "x" * 300), ("b", "", "", "")]
    lines = lay_out(COLUMNS, rows, width, indent=2)
    assert max(len(line) for line in lines) <= width


def test_empty_columns_are_left_out():
    assert lay_out(COLUMNS, [("a", "", "", "b")], 80) == ["NAME  MESSAGE", "a     b"]


def test_colours_do_not_count():
    (_, line) = lay_out((Column("A"), Column("B")), [(Cell("x", "green"), "y")], 80)
    assert click.unstyle(line) == "x  y"
    assert line != click.unstyle(line)
