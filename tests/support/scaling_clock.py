"""The operator under a wall clock that jumps: `python scaling_clock.py FILE ARGUMENTS`, seconds to add in FILE.

Run in a process of its own. Only what tells the time of day is moved (time.time, and datetime where the operator uses
it), as an NTP step or a suspended machine does; the monotonic clock goes on.
"""

import datetime as dt
import sys
import time
from pathlib import Path

_time = time.time


def main(file, arguments):
    """Move the clock, then be the operator."""

    def offset():
        return float(Path(file).read_text() or 0)

    time.time = lambda: _time() + offset()

    class Moved(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return dt.datetime.now(tz) + dt.timedelta(seconds=offset())

    from manta_operator.cli.main import main as operate
    from manta_operator.controller import leader, statuses

    statuses.datetime = leader.datetime = Moved  # imported when the clock was moved already
    sys.argv = ["manta", *arguments]
    operate()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
