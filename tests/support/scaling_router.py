"""A router of the test's own: it answers `/demand` at an address of loopback, as the picker does, or lies.

It plays the picker of a played router pod (played.py) on a real API server, where no picker runs: the pod says its
address (`Played.at`). Counters grow with the load that is set, whenever somebody looks.
"""

import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 9002
LONGEST_POLL = 10
PROMPT, ANSWER = 100, 50
"""Tokens of a request. On cpu, where nothing is known of a replica, it is taken to do 1000 or 200 of them a second."""


class Router:
    """One router. `load` and `hold` set what it sees; `lie` is how it answers, None for the truth."""

    def __init__(self, name):
        """`name` chooses the address: another one for each test and deployment."""
        digest = hashlib.sha256(name.encode()).digest()
        self.address = f"127.{64 + digest[0] % 64}.{digest[1]}.{1 + digest[2] % 250}"
        self.lie, self.held, self.engines = None, 0, []
        self._rate, self._since, self._requests = 0.0, time.monotonic(), 0.0
        self._instance, self._changed = secrets.token_hex(8), threading.Condition()
        self.asked = 0
        self._server = None

    def start(self):
        """Listen. Raises OSError where that address cannot be had."""
        self._server = ThreadingHTTPServer((self.address, PORT), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name=f"router-{self.address}", daemon=True).start()
        return self

    def stop(self):
        """Listen no more: connections are refused. `start` begins again."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def restart(self):
        """The picker was started anew: its counters begin at 0."""
        with self._changed:
            self._instance, self._requests, self._since = secrets.token_hex(8), 0.0, time.monotonic()

    def load(self, rate):
        """So many requests a second come from now on."""
        with self._changed:
            self._count()
            self._rate = rate

    def hold(self, count):
        """So many requests wait now for a replica."""
        with self._changed:
            self._requests += max(0, count - self.held)
            self.held = count
            self._changed.notify_all()

    def wait_held(self):
        """Wait until a request is held, as `/demand/held` does."""
        with self._changed:
            self._changed.wait_for(lambda: self.held > 0, LONGEST_POLL)

    def document(self):
        """The truth."""
        with self._changed:
            self._count()
            self.asked += 1
            requests = int(self._requests)
            counted = {"requests": requests, "tokensIn": requests * PROMPT, "pairs": requests * PROMPT**2 / 2}
            counted |= {"tokensOut": requests * ANSWER, "answers": requests}
            now = {"inFlight": min(4, round(self._rate)), "held": self.held, "queueAge": 1.0 if self.held else 0.0}
            engines = {name: self._engine(requests) for name in self.engines}
            return {"instance": self._instance} | counted | now | {"usable": len(engines), "engines": engines}

    def _engine(self, requests):
        """A replica that serves its share, and nobody waits there."""
        share = requests // max(1, len(self.engines))
        told = {"age": 0.5, "instance": "a", "waiting": 0, "running": 1, "kvUsage": 0.1, "hitTokens": 0}
        told |= {"promptTokens": share * PROMPT, "generatedTokens": share * ANSWER}
        return told | {"firstToken": None, "betweenTokens": None, "inFlight": 1}

    def _count(self):
        now = time.monotonic()
        self._requests += self._rate * (now - self._since)
        self._since = now


def _handler(router):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if self.path.startswith("/demand/held"):
                router.wait_held()
            document = router.document()
            try:
                if router.lie is None:
                    answer(self, json.dumps(document).encode())
                else:
                    router.lie(self, document)
            except OSError:  # whoever asked has gone
                self.close_connection = True

        def log_message(self, *_):
            pass

    return Handler


def answer(handler, body, status=200):
    """Answer with a body."""
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
