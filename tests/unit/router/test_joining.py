"""Replicas that come, or start anew, while others hold what all ask for: they get their part at once, no more."""

import heapq
from collections import Counter, defaultdict

import pytest
from picker_world import World

from manta_runtime.router.picker.chooser import Chooser
from manta_runtime.router.picker.core import Candidate
from manta_runtime.router.picker.request import parse
from manta_runtime.router.picker.scrape import Look
from manta_runtime.router.picker.share import NEW_REQUESTS

SYSTEM = {"role": "system", "content": "You are helpful. " * 500}
SECONDS = 10.0


class Loop:
    """Clients with one system prompt, each of which asks again as soon as its answer, of ten seconds, has come."""

    def __init__(self, folder, replicas, clients):
        self.world = World(folder)
        self.world.replicas(*replicas)
        self.running, self.load, self.asked = [], Counter(), Counter()
        self.clients, self.processes = clients, defaultdict(lambda: "first")
        for _ in range(clients):
            self.world.now += SECONDS / clients
            self.ask()

    def ask(self):
        messages = [SYSTEM, {"role": "user", "content": f"{self.asked.total()} " + "w " * 100}]
        body = {"model": "t", "stream": True, "messages": messages}
        decision = self.world.ask(path="/v1/chat/completions", body=body)
        heapq.heappush(self.running, (self.world.now + SECONDS, self.asked.total(), decision))
        self.load[decision.replica] += 1
        self.asked[decision.replica] += 1

    def run(self, seconds):
        """Mean load of each replica over this time."""
        sums, steps, until = Counter(), 0, self.world.now + seconds
        while self.running[0][0] < until:
            self.world.now, _, decision = heapq.heappop(self.running)
            times = {"first_byte_ms": 20, "first_data_ms": 200, "duration_ms": int(SECONDS * 1000)}
            self.world.end(decision, upstream=decision.endpoints[0], attempts=1, prompt_tokens=2200, **times)
            self.load[decision.replica] -= 1
            self.ask()
            if not steps % self.clients:
                for replica, load in self.load.items():
                    look = Look(load, 0, 0.3, 500_000, 1, self.processes[replica])
                    self.world.picker._looked(replica, look, self.world.now)
            sums.update(self.load)
            steps += 1
        return {name: total / steps for name, total in sums.items()}


@pytest.mark.parametrize(
    ("before", "clients"),
    [
        pytest.param(1, 8, id="one, few clients"),
        pytest.param(1, 32, id="one, many"),
        pytest.param(4, 32, id="four"),
        pytest.param(8, 40, id="eight"),
    ],
)
def test_a_newcomer_gets_its_part_at_once_and_no_more(tmp_path, before, clients):
    names = [f"r{number}-0" for number in range(before)]
    loop = Loop(tmp_path, names, clients)
    loop.run(300)
    loop.world.replicas(*names, "new-0")
    loop.run(3)
    assert loop.asked["new-0"]
    part = clients / (before + 1)
    loop.run(SECONDS)
    for _ in range(10):
        assert 0.75 * part <= loop.run(2 * SECONDS)["new-0"] <= 1.25 * part


def test_who_was_passed_over_is_found_again(tmp_path):
    """A prefix spreads as far as it must; with the load comes the turn of all."""
    loop = Loop(tmp_path, [f"r{number}-0" for number in range(8)], 32)
    loop.run(600)
    means = loop.run(60)
    assert len(means) == 8
    assert max(means.values()) <= 1.3 * min(means.values())


def test_an_engine_that_starts_anew_is_a_newcomer(tmp_path):
    loop = Loop(tmp_path, ["a-0", "b-0"], 16)
    loop.run(300)
    asked = loop.asked["b-0"]
    loop.processes["b-0"] = "another"
    loop.run(120)
    assert 70 <= loop.asked["b-0"] - asked <= 120, "of 192"


def test_a_newcomer_is_new_for_a_while_only():
    """One that answers everything at once, with errors say, never has its part of the load."""
    chooser = Chooser("prefix")
    request = parse("/v1/completions", b"", b'{"prompt": "%s"}' % (b"x" * 8000))
    old = [Candidate(replica="a", endpoint="a", load=9)]
    for second in range(100):
        chooser.commit(request, chooser.choose(request, old, float(second)))
    went = Counter()
    for _ in range(300):
        choice = chooser.choose(request, [*old, Candidate(replica="new", endpoint="new")], 100.0)
        went[choice.candidate.replica] += 1
        chooser.commit(parse("/v1/completions", b"", b'{"prompt": "y"}'), choice)  # it holds nothing of it
    assert went["new"] == NEW_REQUESTS
