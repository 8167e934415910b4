"""The traffic driver sees what it is for: answers lost, refused, cut short, of somebody else, computed twice."""

import json
from collections import Counter

import aiohttp
import pytest
from aiohttp import web
from traffic.report import Phase, between, spotless, summarize
from traffic.request import Outcome, Request, send

WHOLE = Request("a-1", tokens=3, stream=False, fresh=True)
STREAM = Request("a-2", tokens=3, stream=True, fresh=True)


def whole(text, reason="length"):
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": reason}]}).encode()


def event(text, reason=None):
    return (
        b"data: " + json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": reason}]}).encode() + b"\n\n"
    )


ERROR = b'data: {"error": {"message": "engine died"}}\n\n'
DONE = b"data: [DONE]\n\n"
RIGHT, RIGHT_STREAM = WHOLE.expected(), STREAM.expected()


@pytest.mark.parametrize(
    ("case", "request_", "status", "body", "fate"),
    [
        ("whole", WHOLE, 200, whole(RIGHT), "ok"),
        ("streamed", STREAM, 200, event(RIGHT_STREAM[:4]) + event(RIGHT_STREAM[4:], "length") + DONE, "ok"),
        ("another's answer", WHOLE, 200, whole(RIGHT_STREAM), "failed"),
        ("half an answer", WHOLE, 200, whole(RIGHT[:4]), "truncated"),
        ("half a body", WHOLE, 200, whole(RIGHT)[:20], "truncated"),
        ("no reason to end", STREAM, 200, event(RIGHT_STREAM) + DONE, "truncated"),
        ("no [DONE]", STREAM, 200, event(RIGHT_STREAM, "length"), "truncated"),
        ("an error event", STREAM, 200, event(RIGHT_STREAM[:4]) + ERROR + DONE, "failed"),
        ("refused", WHOLE, 503, b'{"error": {"message": "not now"}}', "failed"),
        ("refused in another form", STREAM, 502, b"Bad Gateway", "failed"),
        ("broken off", STREAM, 200, None, "truncated"),
        ("hung up on", WHOLE, None, None, "lost"),
    ],
)
async def test_every_fate_is_told_apart(case, request_, status, body, fate):
    async def handler(request):
        if status is None:
            request.transport.abort()
        response = web.StreamResponse(status=status or 200)
        await response.prepare(request)
        await response.write(body if body is not None else event(RIGHT_STREAM[:4]))
        if body is None:
            request.transport.abort()
        return response

    application = web.Application()
    application.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with aiohttp.ClientSession() as session:
            outcome = await send(session, f"http://127.0.0.1:{runner.addresses[0][1]}", "m", request_)
    finally:
        await runner.cleanup()
    assert outcome.fate == fate, (case, outcome)


async def test_a_service_without_anybody_behind_it_loses_requests():
    async with aiohttp.ClientSession() as session:
        assert (await send(session, "http://127.0.0.1:9", "m", WHOLE)).fate == "lost"


def outcome(number, started, took=1.0, fate="ok"):
    return Outcome(
        Request(str(number), 3, stream=False, fresh=False), fate, "" if fate == "ok" else "why", started, took
    )


def test_a_change_answers_for_every_request_that_ran_in_it_and_nobody_is_left_out():
    phase = Phase("rollout", "", quiet_from=0, began=10, ended=20)
    outcomes = [
        outcome(1, 5),
        outcome(2, 9.5, fate="truncated"),
        outcome(3, 12),
        outcome(4, 19.9, took=5, fate="lost"),
        outcome(5, 20.1, fate="failed"),
    ]
    executed = Counter({"1": 2, "3": 2})
    row, rest = summarize(phase, outcomes, executed), between([phase], outcomes, executed)
    assert [row[key] for key in ("sent", "lost", "failed", "truncated", "duplicated")] == [3, 1, 0, 1, 1]
    assert [rest[key] for key in ("sent", "lost", "failed", "truncated", "duplicated")] == [2, 0, 1, 0, 1]
    assert row["why"] == {"why": 2}


@pytest.mark.parametrize("fault", ["lost", "failed", "truncated", "duplicated"])
def test_one_fault_without_an_excuse_fails_the_run(fault):
    clean = {"lost": 0, "failed": 0, "truncated": 0, "duplicated": 0, "excuse": ""}
    assert spotless([clean, clean | {fault: 1, "excuse": "it was killed"}])
    assert not spotless([clean, clean | {fault: 1}])
