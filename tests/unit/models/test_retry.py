"""Back-off, Retry-After, and the end of patience."""

import threading

import pytest

from manta_runtime.models.answers import judge_status, retry_after
from manta_runtime.models.failure import FetchError, PermanentError, StoppedError, TransientError
from manta_runtime.models.retry import delay, patiently


def test_delays_grow_to_a_limit():
    assert [delay(attempt, None, 1.0) for attempt in (1, 2, 3, 50)] == [0.5, 1.0, 2.0, 30.0]
    assert delay(1, None, 0.0) == 0.25


@pytest.mark.parametrize(("asked", "least", "most"), [(10, 10, 11), (0, 0, 1), (86400, 300, 301)])
def test_what_the_server_asks_for_is_respected_within_reason(asked, least, most):
    assert least <= delay(1, asked, 0.5) <= most


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120.0),
        ("", None),
        ("soon", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
def test_retry_after(value, expected):
    assert retry_after({"retry-after": value} if value else {}, now=10.0) == expected


@pytest.mark.parametrize(
    ("status", "kind"),
    [(408, TransientError), (429, TransientError), (500, TransientError), (503, TransientError), (400, PermanentError),
     (403, PermanentError), (410, PermanentError)],
)  # fmt: skip
def test_statuses(status, kind):
    assert type(judge_status(status, {}, "x")) is kind


def test_given_up_with_the_last_reason():
    told = []
    with pytest.raises(FetchError, match=r"no luck \(given up after 1 tries"):
        patiently(raiser(TransientError("no luck")), 0, threading.Event(), told.append)
    assert told == ["no luck"]


def test_longer_than_patience_is_not_waited_for():
    with pytest.raises(FetchError, match="given up"):
        patiently(raiser(TransientError("busy", 100)), 50, threading.Event(), lambda _: None)


def test_stops_while_waiting():
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        patiently(raiser(TransientError("no luck")), 50, stop, lambda _: None)


def test_other_errors_pass():
    with pytest.raises(PermanentError):
        patiently(raiser(PermanentError("never")), 50, threading.Event(), lambda _: None)


def raiser(error):
    def call():
        raise error

    return call
