"""Ways in which a router answers what is not so, or not at all. See scaling_router.py."""

import json
import socket
import struct
import time
from itertools import count

from scaling_router import answer

_COUNTERS = ("requests", "tokensIn", "tokensOut", "answers", "pairs")
_RESET = struct.pack("ii", 1, 0)
_HUGE = 200 << 20
_SLOW_SECONDS = 30


def _with(value):
    def lie(handler, document):
        told = document | dict.fromkeys(_COUNTERS, value)
        answer(handler, json.dumps(told).encode())

    return lie


def _dead(handler, _):
    """Hang up without a word."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    handler.connection.close()
    handler.close_connection = True


def _backwards():
    steps = count(1)

    def lie(handler, document):
        fewer = {name: document[name] / next(steps) for name in _COUNTERS}
        answer(handler, json.dumps(document | fewer).encode())

    return lie


def _large(handler, document):
    """200 MB, of which the beginning is true."""
    part = b" " * (1 << 20)
    handler.send_response(200)
    handler.send_header("Content-Length", str(_HUGE))
    handler.end_headers()
    handler.wfile.write(json.dumps(document).encode())
    for _ in range(_HUGE >> 20):
        handler.wfile.write(part)


def _endless(handler, _):
    """A byte every now and then, for ever."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"1\r\n \r\n")
        handler.wfile.flush()
        time.sleep(0.2)


def _slow(handler, document):
    time.sleep(_SLOW_SECONDS)
    answer(handler, json.dumps(document).encode())


def lies():
    """Every way, by name; a fresh set, for some count."""
    return {
        "dead": _dead,
        "error": lambda handler, _: answer(handler, b'{"error": "no"}', 500),
        "text": lambda handler, _: answer(handler, b"<html>hello</html>"),
        "list": lambda handler, document: answer(handler, json.dumps([document] * 3).encode()),
        "nan": _with(float("nan")),
        "infinite": _with(float("inf")),
        "negative": _with(-5),
        "huge": _with(10**18),
        "words": _with("many"),
        "backwards": _backwards(),
        "large": _large,
        "endless": _endless,
        "slow": _slow,
    }
