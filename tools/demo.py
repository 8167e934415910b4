"""`make demo`: a tiny real model served twice, replicated and sharded, talked to, broken and mended, torn down.

Everything is real: vLLM, Ray, Envoy, the operator, and an API server that `manta up` runs on this machine.
"""

import argparse
import asyncio
import signal
import sys

from demonstration.run import Options, run
from demonstration.tell import DemoFailed, say


def main() -> int:
    """Run the demo; exit code 0 when all of it worked, 1 when not, 2 when the machine cannot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    parser.add_argument("--started", type=float, help="seconds since 1970 when `make demo` was typed")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end takes everything down, as Ctrl-C does
    try:
        asyncio.run(run(Options(keep=arguments.keep, started=arguments.started)))
    except DemoFailed as failure:
        say(f"\nThe demo stopped: {failure}")
        return failure.code
    except KeyboardInterrupt:
        say("\nInterrupted; everything was taken down.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
