"""What stands between kopf and the API server: kopf ends the operator at answers that only need patience.

kopf tries again what looks like a lost connection, for as long as it is told to; a 401 whose renewal brings nothing new
and a 404 of a CRD that is just being replaced end it instead. So those look like lost connections to it. It also logs
every attempt, which in an outage of hours says nothing new.
"""

import logging

import aiohttp


async def patiently(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Let kopf's reads fail only in ways that it tries again."""
    answer = await handler(request)
    if answer.status == 401 or (answer.status == 404 and request.method == "GET"):
        answer.release()
        raise aiohttp.ClientConnectionError(f"{request.method} {request.url.path}: HTTP {answer.status}")
    return answer


class FirstAttempts(logging.Filter):
    """Keeps the first of kopf's attempts of a request in the log, as a warning, and drops those that follow."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is logged."""
        message = record.getMessage()
        if not message.startswith("Request attempt #"):
            return True
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return message.startswith(("Request attempt #1 ", "Request attempt #1/"))
