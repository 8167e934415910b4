"""What stands between kopf and the API server: kopf ends the operator at answers that only need patience.

kopf tries again what looks like a lost connection, for as long as it is told to; a 401 whose renewal brings nothing new
and a 404 of a CRD that is just being replaced end it instead. So those look like lost connections to it.
"""

import logging

import aiohttp

log = logging.getLogger(__name__)

_READS = ("GET",)


async def patiently(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Let kopf's reads fail only in ways that it tries again."""
    answer = await handler(request)
    if answer.status == 401 or (answer.status == 404 and request.method in _READS):
        answer.release()
        raise aiohttp.ClientConnectionError(f"{request.method} {request.url.path}: HTTP {answer.status}")
    return answer
