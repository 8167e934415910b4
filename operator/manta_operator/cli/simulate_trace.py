"""Reads a trace for `manta simulate`, whatever the file is. Effects: reads it; what its lines mean says `forms.py`.

The file is somebody's log of millions of lines, or a stranger's: it is read line by line, no line longer than a
megabyte, and an archive only as far as requests are taken from it.
"""

import gzip
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from manta_operator.scaling.simulation.forms import WANTED, Parsed, parse
from manta_operator.scaling.simulation.trace import TraceError

SUFFIXES = ("", ".gz", ".jsonl.gz", ".csv.gz", ".jsonl", ".csv")
"""What may be left out of the names of known traces."""
_LONGEST_LINE = 1_000_000
_MOST_LINES = 20_000_000
_GZIP = b"\x1f\x8b"


def read(path: Path) -> Parsed:
    """Read a trace, gzipped or not; - is standard input. Raises TraceError, which says what, where and what to do."""
    try:
        if str(path) == "-":
            return parse(_lines(sys.stdin.buffer, "standard input"), "standard input")
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
        with path.open("rb") as plain:
            file = cast("IO[bytes]", gzip.GzipFile(fileobj=plain)) if packed else plain
            return parse(_lines(file, str(path)), str(path))
    except FileNotFoundError:
        raise TraceError(f"no trace at {path}: there is no such file; give {WANTED}, gzipped or not") from None
    except IsADirectoryError:
        raise TraceError(f"{path}: is a folder; name a file in it") from None
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: is not text in UTF-8 ({error.reason}); give {WANTED}, gzipped or not") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TraceError(f"{path}: its gzip archive is broken: {error}; write it anew") from None
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from None


def _lines(file: IO[bytes], where: str) -> Iterator[str]:
    for number in range(1, _MOST_LINES + 1):
        line = file.readline(_LONGEST_LINE + 1)
        if not line:
            return
        if len(line) > _LONGEST_LINE:
            raise TraceError(f"{where}:{number}: a line of more than a megabyte is no request; give {WANTED}")
        yield line.decode()
    raise TraceError(f"{where} has more than {_MOST_LINES} lines: give a part of it")
