"""One request to the API server about one object, beside `KubeClient`: no discovery, no patience, no apply.

For the few who write with the version that they have read: the leader election, the authorities of the webhook.
"""

import json
from typing import Any

import aiohttp

from manta_operator.controller import metrics
from manta_operator.controller.errors import classify

Object = dict[str, Any]


async def request(
    session: aiohttp.ClientSession, method: str, url: str, verb: str, kind: str, name: str, **given: Any
) -> Object:
    """Return the object that is answered with.

    Args:
        session: Authenticates the request.
        method: Of HTTP.
        url: Of the object, or of its collection.
        verb: The same as Kubernetes calls it, for the metrics and in errors.
        kind: Of the object.
        name: Of the object, with its namespace if it has one; for errors.
        given: What else `aiohttp.ClientSession.request` takes: body, headers, timeout.

    Raises:
        ClusterError: it was refused, or nobody answers.
    """
    what = f"{verb} {kind} {name}"
    try:
        async with session.request(method, url, **given) as response:
            text = await response.text()
            metrics.requested(verb, kind, response.status)
    except (aiohttp.ClientError, OSError) as error:
        metrics.requested(verb, kind, None)
        raise classify(None, str(error) or type(error).__name__, what) from error
    try:
        answer: Object = json.loads(text)
    except ValueError:
        answer = {"message": text[:300]}
    if response.status >= 400:
        raise classify(response.status, str(answer.get("message") or response.reason), what)
    return answer
