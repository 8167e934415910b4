"""What a simulation means in words: true when ours keeps the objective, misses it, or is beaten."""

from dataclasses import replace

import pytest

from manta_operator.cli.facts import Lookup
from manta_operator.cli.simulate_case import Wish, case
from manta_operator.cli.simulate_meaning import meaning
from manta_operator.scaling.simulation.compare import Compared
from manta_operator.scaling.simulation.outcome import Moment, Outcome
from manta_operator.scaling.simulation.replica import Job
from manta_operator.scaling.simulation.trace import Request

CASE = case(Wish(), Lookup())
KEPT, MISSED = (0.992, 8.0), (0.96, 8.0)


def row(attainment, hours, cut=0):
    return {"cut_off": cut, "slo_attainment": attainment, "gpu_hours": hours, "gpu_hours_over_oracle": hours / 4}


def compared(ours, *, asked=(1, 2, 1), gap=100.0, oracle=(0.995, 4.0), **others):
    jobs = tuple(Job(Request(at, 1, 1), index) for index, at in enumerate((0.0, 5.0, 5.0 + gap)))
    moments = tuple(Moment(float(at), count, count, count, 0) for at, count in enumerate(asked))
    outcome = Outcome(jobs, (), moments, 0.0, jobs[-1].request.at, 0)
    rows = {"oracle": row(*oracle), "manta": row(*ours)}
    rows |= {name.replace("_", "-"): row(*each) for name, each in others.items()}
    return Compared(rows, dict.fromkeys(rows, outcome), (), 0.0)


@pytest.mark.parametrize(
    ("name", "found", "words"),
    [
        ("alone", compared(KEPT), "beforehand. No other policy was asked for."),
        ("alone and late", compared(MISSED), "That misses the 99% asked for. No other policy was asked for."),
        ("only ours keeps it", compared(KEPT, kubeai=(0.97, 6.0)),
         "None of the other policies keeps 99% in time; the nearest is kubeai with 97.00%, for 25% fewer GPU-hours."),
        ("nobody keeps it", compared(MISSED, hpa_queue=(0.5, 9.0), kubeai=(0.983, 12.0)),
         "That misses the 99% asked for. Nor does any of the other policies; the nearest is kubeai with 98.30%, for "
         "50% more GPU-hours."),
        ("another keeps it", compared(MISSED, kubeai=(0.993, 12.0)),
         "That misses the 99% asked for. Of the others, kubeai keeps it and is the cheapest that does, for 50% more"),
        ("another is better in both", compared(KEPT, hpa_concurrency_best=(0.998, 6.0)),
         "hpa-concurrency-best (its target was chosen on these very requests) is the cheapest, for 25% fewer GPU-hours"
         ". It does better than manta here: no more late, for no more hours."),
        ("better though late", compared(MISSED, fixed_peak=(0.98, 8.0)),
         "fixed-peak (it knows the trace) with 98.00%, for as many GPU-hours. fixed-peak (it knows the trace) (98.00%) "
         "does better than manta here"),
        ("another is dearer", compared(KEPT, kubeai=(0.993, 12.0)),
         "Of the others that keep 99%, kubeai is the cheapest, for 50% more GPU-hours."),
    ],
)  # fmt: skip
def test_the_verdict(name, found, words):
    assert words in meaning(found, CASE, [])[0], name
    late = found.rows["manta"]["slo_attainment"] < 0.99
    assert len(meaning(found, CASE, [])) == (2 if late else 1)


@pytest.mark.parametrize(
    ("holds", "words"),
    [
        ([], "a longer stabilisationSeconds or a lower"),
        ([480.0], "a longer stabilisationSeconds than the 480 s that were chosen or"),
        ([480.0, 300.0, 960.0], "than the 300 to 960 s that were chosen or"),
    ],
)
def test_the_window_that_there_was_is_named(holds, words):
    assert words in meaning(compared(MISSED), CASE, holds)[1]


def test_a_window_that_is_set_was_not_chosen():
    behaviour = replace(CASE.settings.behaviour, hold=77.0)
    fixed = replace(CASE, settings=replace(CASE.settings, behaviour=behaviour))
    assert "than the 77 s that are set or" in meaning(compared(MISSED), fixed, [77.0])[1]


def test_an_oracle_that_is_late_needs_more_replicas():
    assert (
        "Not even the oracle keeps 99% in time with at most 40"
        in meaning(compared(MISSED, oracle=(0.9, 4)), CASE, [])[1]
    )


def test_what_draining_cuts_off_is_told():
    told = meaning(compared((0.992, 8.0, 7)), CASE, [])
    assert told[1].startswith("7 of the requests with manta were cut off on the way down")
    assert "rollout.drainSeconds (60)" in told[1]


def test_zero_that_is_never_reached_is_told():
    idle = replace(CASE, setup=replace(CASE.setup, least=0), settings=replace(CASE.settings, least=0))
    told = meaning(compared(KEPT, gap=540.0), idle, [])
    assert "the longest time without a request is 540 s, and scaleToZero.afterSeconds is 600." in told[1]
    assert len(meaning(compared(KEPT, asked=(1, 0, 1)), idle, [])) == 1
