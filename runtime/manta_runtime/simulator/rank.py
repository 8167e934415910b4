"""A stand-in for a group's Ray node when the engine is simulated: it comes up, stays, and ends when it is told to.

`python -m manta_runtime.simulator.rank FOLDER ADDRESS`. As `ray start --block` does, it writes the address of its
cluster into FOLDER when it is up; so everything around it (joining, losing a rank, ending together) is real.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path


def main(folder: str, address: str) -> None:
    """Publish `address` and wait for a signal."""
    print(f"this SIMULATES a Ray node of {address}: nothing is computed here", flush=True)
    part = Path(folder, "ray_current_cluster.part")
    part.write_text(address)
    part.rename(part.with_suffix(""))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(*sys.argv[1:])
