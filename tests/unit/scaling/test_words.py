"""The sentence of a decision: singular and plural, and what is said where nothing comes."""

from dataclasses import replace

import pytest

from manta_operator.scaling.decide import decide
from manta_operator.scaling.settings import Estimate, Settings
from manta_operator.scaling.signals import Demand, EngineSignals, Replicas, Signals
from manta_operator.scaling.state import State

SETTINGS = Settings(Estimate(1000.0, 100.0), least=0, idle_seconds=60.0)
ENGINES = {"r1": EngineSignals(0, 0, 0.0, 0.0, 0.0)}


def said(settings, *looks):
    """Return the sentence of the last of several looks, each a moment (s) and what is waiting in the engine."""
    state, reason = State(), ""
    for now, waiting in looks:
        engines = {name: replace(engine, waiting=waiting) for name, engine in ENGINES.items()}
        seen = Signals(now, Replicas(1, 1), Demand(0.0, 0.0, 0.0, 0.0, waiting), engines)
        decided, state = decide(settings, state, seen)
        reason = decided.reason
    return reason


@pytest.mark.parametrize(("waiting", "words"), [(1, ", 1 request waiting)"), (2, ", 2 requests waiting)")])
def test_singular_and_plural(waiting, words):
    assert said(SETTINGS, (0.0, waiting)).endswith(words)


def test_silence_says_after_how_long_it_is_zero():
    quiet = said(SETTINGS, *((at, 0) for at in range(0, 62, 2)))
    assert quiet.startswith("from 1 to 0 replicas: there has been nothing to do for 60 s (scaleToZero.afterSeconds)")
    watched = replace(SETTINGS, idle_seconds=900.0, behaviour=replace(SETTINGS.behaviour, hold=10.0))
    early = said(watched, *((at, 0) for at in range(0, 62, 2)))
    assert early.startswith("1 replica stays: nothing comes now, and it goes to zero after 900 s without any request")
    at_least = said(replace(watched, least=1), *((at, 0) for at in range(0, 62, 2)))
    assert "the load of now needs 0.0" in at_least
