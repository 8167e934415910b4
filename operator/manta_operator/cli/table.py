"""Tables for terminals of any width, and for pipes: rows in, lines out. Pure.

On a terminal the least important columns give way first and the last column is folded; without a width (a pipe) every
row is one line, however long, so that grep and awk work.
"""

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import click

GAP = 2
NARROWEST_LAST = 28
"""Columns the last cell needs; with less it goes below its row."""
_INDENT = 4


@dataclass(frozen=True)
class Column:
    """A column; one with a higher `gives_way` leaves a narrow table earlier, one with 0 stays."""

    title: str
    gives_way: int = 0


@dataclass(frozen=True)
class Cell:
    """A text and its colour, empty for none."""

    text: str
    colour: str = ""


Row = Sequence[str | Cell]


def lay_out(columns: Sequence[Column], rows: Sequence[Row], width: int | None, indent: int = 0) -> list[str]:
    """Return the lines, styled (click takes the styles away where there is no terminal).

    Args:
        columns: Left to right.
        rows: As many cells each as there are columns; empty columns are left out.
        width: Of the terminal in characters, None for a pipe.
        indent: Spaces before each line.
    """
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    used = [number for number in range(len(columns)) if not cells or any(row[number].text for row in cells)]
    room = None if width is None else width - indent
    kept = _fitting(columns, cells, used, room)
    if not kept:
        return []
    titles = [Cell(columns[number].title) for number in kept]
    body = [[row[number] for number in kept] for row in cells]
    widths = [max(len(row[place].text) for row in (titles, *body)) for place in range(len(kept))]
    lines = [line for row in (titles, *body) for line in _row(row, widths, room)]
    return [f"{' ' * indent}{line}" for line in lines]


def _fitting(columns: Sequence[Column], cells: list[list[Cell]], used: list[int], room: int | None) -> list[int]:
    """Return the numbers of the columns that stay."""
    kept = list(used)
    while room is not None and kept:
        widths = [max([len(columns[n].title), *(len(row[n].text) for row in cells)]) for n in kept]
        needed = sum(widths[:-1]) + GAP * (len(kept) - 1) + min(widths[-1], NARROWEST_LAST)
        leaving = max(kept, key=lambda number: columns[number].gives_way)
        if needed <= room or not columns[leaving].gives_way:
            break
        kept.remove(leaving)
    return kept


def _row(row: list[Cell], widths: list[int], room: int | None) -> list[str]:
    head = "".join(_styled(cell, size + GAP) for cell, size in zip(row[:-1], widths[:-1], strict=True))
    before, last = sum(size + GAP for size in widths[:-1]), row[-1]
    if room is None or before + len(last.text) <= room:
        return [(head + _styled(last)).rstrip()]
    if room - before >= min(NARROWEST_LAST, widths[-1]):
        first, *more = fold(last.text, room - before)
        return [head + _styled(Cell(first, last.colour)), *(" " * before + line for line in more)]
    below = fold(last.text, room - _INDENT)
    return [head.rstrip(), *(" " * _INDENT + line for line in below)]


def fold(text: str, width: int) -> list[str]:
    """Break a text into lines of at most `width` characters; addresses and names only where they are longer."""
    return textwrap.wrap(text, max(width, 8), break_on_hyphens=False) or [""]


def terminal_width() -> int:
    """Return the width of the terminal in characters."""
    return shutil.get_terminal_size().columns


def _styled(cell: Cell, size: int = 0) -> str:
    padded = cell.text.ljust(size)
    return click.style(padded, fg=cell.colour) if cell.colour else padded
