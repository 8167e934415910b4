"""The benchmark that asks real vLLM whether answers become slower in a line: its windows, its line, its tables."""

import io
import json
from dataclasses import replace

import pytest
from autoscaler_validation import main, slower
from autoscaler_validation.law import Fit, Point, Seen, between, between_tokens, exactly, fitted, windows
from autoscaler_validation.report import fits, levels
from rich.console import Console

from manta_operator.scaling.settings import Estimate
from manta_operator.scaling.signals import EngineSignals
from manta_operator.scaling.slowdown import Line

ESTIMATE = Estimate(2_000.0, 1_000.0, sequences=32)
ALONE, SLOPE = 100.0, 80.0


def point(work, *, waits=False, rate=None, kv=0.01):
    """What an engine shows that does this work, half of it prompts; each sequence as fast as the law says."""
    generated = work / 2 * 1_000.0
    return Point(work / 2 * 2_000.0, generated, generated / (rate or ALONE - SLOPE * work), kv, waits)


def look(at, tokens, *, running=2, waiting=0):
    return Seen(at, EngineSignals(waiting, running, 0.5, 10.0 * tokens, 1.0 * tokens), 0.5 * tokens, 0.1 * tokens)


def drawn(table):
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table)
    return [line.split() for line in console.export_text().splitlines()]


def test_a_window_ends_with_the_first_look_that_is_late_enough():
    found = windows([look(2.0 * step, 6 * step, running=step) for step in range(12)], 10.0)
    assert [each.running for each in found] == [3.0, 8.0]
    assert all(each.generated == pytest.approx(3.0) and each.prompt == pytest.approx(30.0) for each in found)


@pytest.mark.parametrize(("waiting", "waits"), [((1, 1, 0), False), ((0, 0, 1), True)])
def test_a_window_waits_if_a_request_does_at_its_end(waiting, waits):
    assert between([look(at, at, waiting=each) for at, each in enumerate(waiting)]).waits is waits


def test_how_many_run_is_known_without_chance():
    found = exactly(windows([look(2.0 * step, 30 * step, running=9 * (step % 2)) for step in range(6)], 10.0))
    assert [(each.rate, each.running) for each in found] == [pytest.approx((5.0, 3.0))]


def test_times_between_tokens_are_read():
    text = b"""# TYPE vllm:inter_token_latency_seconds histogram
vllm:inter_token_latency_seconds_bucket{engine="0",le="0.01"} 7.0
vllm:inter_token_latency_seconds_count{engine="0"} 9.0
vllm:inter_token_latency_seconds_sum{engine="0"} 0.5
vllm:inter_token_latency_seconds_count{engine="1"} 1.0
vllm:inter_token_latency_seconds_sum{engine="1"} 0.25
"""
    assert between_tokens(text) == (10.0, 0.75)
    assert between_tokens(b"") == (0.0, 0.0)


def test_the_line_is_found_again():
    fit = fitted([point(work) for work in (0.1, 0.3, 0.5, 0.7)], ESTIMATE)
    assert (fit.alone, fit.slope, fit.share, fit.stand) == pytest.approx((ALONE, SLOPE, 1.0, ALONE / SLOPE))
    assert fit.at(0.5) == pytest.approx(60.0)
    assert fit.sure == 1.0


def test_the_limit_is_where_the_places_are_full():
    fit = fitted([point(work) for work in (0.1, 0.3, 0.5, 0.7)], ESTIMATE)
    running = fit.limit / 2 * 1_000.0 / (ALONE - SLOPE * fit.limit)
    assert running == pytest.approx(32)


def test_what_slowdown_leaves_out_is_left_out():
    kept = [point(work) for work in (0.1, 0.3, 0.5)]
    others = [point(0.4, waits=True, rate=1.0), point(0.01, rate=9.0), point(0.03, rate=99.0)]
    assert fitted(kept + others, ESTIMATE) == fitted(kept, ESTIMATE)


@pytest.mark.parametrize(
    ("works", "number"), [((), 0), ((0.2, 0.4), 2), ((0.3, 0.3, 0.3), 3)], ids=["none", "few", "all alike"]
)
def test_without_enough_there_is_no_line(works, number):
    assert fitted([point(work) for work in works], ESTIMATE) == Fit(number=number)


def test_answers_that_become_faster_show_no_limit():
    fit = fitted([point(work, rate=50 + 50 * work) for work in (0.2, 0.4, 0.6)], ESTIMATE)
    assert (fit.stand, fit.limit) == (0.0, 0.0)
    assert fit.slope < 0


def test_each_level_has_a_row_beside_the_line():
    line = Fit(ALONE, SLOPE, 1.0)
    rows = drawn(levels("levels", {"10%": [point(0.1), point(0.2)], "none": []}, line, ESTIMATE))
    assert rows[2] == ["10%", "2", "2", "0.150", "84.0", "88.0", "92.0", "88.0", "+0%", "0.9", "75"]
    assert len(rows) == 3


def test_the_line_stands_beside_what_was_measured():
    rows = drawn(fits("fits", {"measured": (Fit(100.0, 80.0, 0.5, 1.25, 0.9, 1.0, 20), 1.0), "none": (Fit(), 2.0)}))
    assert rows[2] == ["measured", "20", "100.0", "80.0", "0.50", "1.25", "0.90", "1.00", "1.00", "0.90"]
    assert rows[3] == ["none", "0", "0.00", "0.00", "2.00"]


def test_everything_found_is_printed_and_kept(capsys):
    points = {level: [replace(point(level), decoding=2 * point(level).running)] for level in (0.1, 0.3, 0.5)}
    full = (point(0.7, waits=True), point(0.9, waits=True))
    found = slower.Found(points, full, Line(), {"measured": ESTIMATE}, (0.5,), (0.01, 0.02))
    lines = found.fits()
    assert list(lines) == ["measured", "measured, exact", "measured, slowdown.py's own windows"]
    assert [fit.alone for fit, _ in lines.values()] == pytest.approx([ALONE, ALONE / 2, 0.0])
    assert {round(capacity, 9) for _, capacity in lines.values()} == {0.8}
    document = {}
    main.tell_slower(found, document)
    ((_, kept),) = document.items()
    assert json.loads(json.dumps(kept)) == found.as_json() | {
        "load of the machine": [0.5],
        "steps of one, of all places (s)": [0.01, 0.02],
    }
    assert "full after" in capsys.readouterr().out
