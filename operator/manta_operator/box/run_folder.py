"""Run folders /tmp/manta-<uid>-<number>: scratch of a box's processes, outside its state folder for the short path.

`box.py` makes one when it has claimed its number, and removes those that killed boxes left.
"""

import os
import shutil
import tempfile
from pathlib import Path

from manta_operator.box.addresses import MAX_BOXES, claim_number


def run_folder(number: int) -> Path:
    """Where the box of this number, of this user, has its run folder."""
    return _temporary() / f"{_prefix()}{number}"


def make_run_folder(number: int) -> Path:
    """Make it anew, readable by this user alone; the number must be claimed. OSError if it cannot be."""
    folder = run_folder(number)
    shutil.rmtree(folder, ignore_errors=True)  # of a box of this number that was killed
    folder.mkdir(mode=0o700)
    return folder


def remove_left_behind() -> None:
    """Remove this user's run folders of boxes that do not run; each number is claimed meanwhile, so none can begin."""
    for folder in _temporary().glob(f"{_prefix()}*"):
        number = folder.name.removeprefix(_prefix())
        if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= MAX_BOXES:
            continue
        claim = claim_number(int(number))
        if claim is not None:
            shutil.rmtree(folder, ignore_errors=True)
            claim.listener.close()


def _prefix() -> str:
    return f"manta-{os.getuid()}-"


def _temporary() -> Path:
    # Not TMPDIR, if it can be helped: paths of Unix sockets below it may have no more than 107 bytes.
    short = Path("/tmp")  # noqa: S108 - what is made there belongs to this user alone
    return short if os.access(short, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
