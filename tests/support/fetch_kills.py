"""kill -9 a fetch at random points, again and again, then let it end: `make fetch-kills KILLS=100`.

After every kill the target is either not there or complete, and at the end every byte is the source's. The same with
few kills is tests/integration/test_fetch_kills.py.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from fetch_hub import FakeHub
from fetching import content, environ, fetch, model, needed, start

CHUNK = 131072


class Outcome:
    """What a run of kills came to."""

    def __init__(self):
        self.kills = self.served_half = self.rounds = 0
        self.sent = self.needed = 0
        self.seconds = 0.0

    def line(self):
        """The outcome in one line."""
        return (
            f"{self.kills} kills in {self.rounds} models and {self.seconds:.0f} s: {self.served_half} served half, "
            f"{self.sent / self.needed:.2f} times the bytes of the models were sent"
        )


def run_kills(folder, kills, seed=7, size=2_000_000, tell=lambda _: None):
    """Kill until `kills` have hit, one model after the other; every model ends with the right bytes.

    Raises AssertionError when one does not.
    """
    chance, outcome, began = random.Random(seed), Outcome(), time.monotonic()
    with FakeHub(model(size, 3)) as hub:
        hub.faults.delay = 0.004
        env, whole = environ(HF_ENDPOINT=hub.endpoint), needed(hub.files)
        while outcome.kills < kills:
            to = folder / f"models/{outcome.rounds}"
            goal = min(kills, outcome.kills + chance.randint(3, 12))
            while outcome.kills < goal and _kill_once(hub, to, env, chance, outcome):
                outcome.served_half += to.exists() and content(to) != whole
            code, log = fetch(to, env, chunk_bytes=CHUNK)
            assert code == 0, log
            assert content(to) == whole, "the bytes are not the source's"
            outcome.rounds += 1
            outcome.sent, outcome.needed = hub.sent, outcome.rounds * sum(map(len, whole.values()))
            tell(outcome)
    outcome.seconds = time.monotonic() - began
    return outcome


def _kill_once(hub, to, env, chance, outcome):
    """Start a fetch and kill it at a random point; returns False when it had ended before."""
    process = start(to, env, chunk_bytes=CHUNK)
    before, asked = hub.sent, len(hub.requests)
    point = before + chance.randint(0, 1_500_000)
    while process.poll() is None and (len(hub.requests) == asked or hub.sent < point):
        time.sleep(0.002)
    time.sleep(chance.random() * 0.01)
    process.kill()
    process.communicate()
    outcome.kills += process.returncode == -9
    return process.returncode == -9


def main():
    """Kill as often as asked; exit code 1 when a half model was served."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_kills(Path(folder), options.kills, options.seed, tell=lambda o: print(f"{o.kills} kills …"))
    print(outcome.line())
    return 1 if outcome.served_half else 0


if __name__ == "__main__":
    sys.exit(main())
