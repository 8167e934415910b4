"""Traces in every form: the requests in them, and a sentence with the line where one cannot be used."""

import json

import pytest

from manta_operator.scaling.simulation import forms
from manta_operator.scaling.simulation.forms import parse
from manta_operator.scaling.simulation.trace import Request, TraceError
from manta_runtime.router import access_log

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens"
PLAIN = "seconds,prompt_tokens,output_tokens"


def said(at="2026-11-21T10:00:00.500Z", prompt=7, answer=3, **more):
    return json.dumps({"time": at, "prompt_tokens": prompt, "completion_tokens": answer} | more)


def test_every_form_is_known():
    two = (Request(0.0, 5, 1), Request(1.0, 7, 3))
    azure = [AZURE, "2023-11-16 18:17:04.9799600,7,3", "2023-11-16 18:17:03.9799600,5,0"]
    later = ["TIMESTAMP,ContextTokens,GeneratedTokens", "2024-05-10 00:00:00.5+00:00,5,0", "2024-05-10 00:00:01.5,7,3"]
    plain = ["\ufeffid, seconds , output_tokens,prompt_tokens", "a,11.5,3,7", "", "b,10.5,0,5"]
    mooncake = ['{"timestamp": 500, "input_length": 5, "output_length": 0, "hash_ids": [1]}',
                '{"timestamp": 1500, "input_length": 7, "output_length": 3}']  # fmt: skip
    for lines, form in ((azure, "Azure"), (later, "Azure"), (plain, "plain CSV"), (mooncake, "Mooncake")):
        found = parse(lines, "x")
        assert (found.trace, found.form) == (two, form)


def test_an_access_log_is_read_among_other_lines():
    lines = [
        "[2026-11-21 09:59:59][info] starting main dispatch loop",
        '{"msg": "the picker speaks"}',
        said("2026-11-21T10:00:01.500000123Z", cached_tokens=None, method="POST"),
        said("2026-11-21T10:00:00.500+00:00", prompt=5, answer=1, cached_tokens=3),
        said(prompt=None, answer=None, status=503),
        '{"time": broken',
        said("yesterday"),
    ]
    found = parse(lines, "x")
    assert found.trace == (Request(0.0, 5, 1), Request(1.0, 7, 3))
    assert (found.form, found.left_out) == ("access log", 5)
    assert found.cached == pytest.approx(3 / 12)


def test_the_router_writes_what_is_read():
    written = access_log.build()[0]["typed_config"]["log_format"]["json_format"]
    assert set(json.loads(said(cached_tokens=1))) <= set(written)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "x has no requests: it is empty"),
        (["  ", "\n"], "x has no requests"),
        (["a,b,c", "1,2,3"], "x:1: no form that is known: give CSV with TIMESTAMP"),
        (['{"a": ' * 5000], "x:1: no form"),
        (['"' + "x" * 200_000], "x:1: no form"),
        ([AZURE, "yesterday,1,2"], "x:2"),
        ([AZURE, "2023-11-16 18:17:04,1"], "x:2"),
        ([AZURE], "x has no requests"),
        ([PLAIN, "0,1,2", "nan,1,2"], "x:3: the time is no number"),
        ([PLAIN, "0,1e3,2"], "x:2: wants"),
        ([PLAIN, f"0,{'9' * 400},2"], "x:2: wants"),
        ([PLAIN, "0,99999999,2"], "x:2: 99999999 prompt tokens"),
        ([PLAIN, '0,"1,2'], "x:2: wants"),
        ([PLAIN, "0,1,2", "99999999,1,2"], "1157 days apart"),
        (['{"timestamp": 0, "input_length": 0, "output_length": 2}'], "x:1: 0 prompt tokens"),
        (['{"timestamp": 0, "input_length": 1, "output_length": 2}', "[" * 100_000], "x:2: wants"),
        (['{"timestamp": 0, "input_length": 1, "output_length": 2}', "[]"], "x:2: wants"),
        (['{"timestamp": 0, "input_length": 1e999, "output_length": 2}'], "x:1: wants"),
        ([said(prompt=None)], "no request has tokens"),
    ],
)
def test_a_trace_that_cannot_be_used_says_where(lines, says):
    with pytest.raises(TraceError, match=says):
        parse(lines, "x")


def test_no_more_is_read_than_can_be_simulated(monkeypatch):
    monkeypatch.setattr(forms, "MOST_REQUESTS", 10)

    def endless():
        yield PLAIN
        while True:
            yield "1,2,3"

    with pytest.raises(TraceError, match="more than 10 requests: give a part"):
        parse(endless(), "x")
    logs = iter(said, None)
    with pytest.raises(TraceError, match="more than 10 requests"):
        parse(logs, "x")
