"""Bounded GETs to hosts that may answer anything: no more bytes than asked for, no endless waits, no leaked tokens.

Redirects are followed here, not by aiohttp: a hub sends readers on to other hosts, which must not see its token.
"""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

CONNECT_SECONDS = 4.0
SILENCE_SECONDS = 10.0
REQUEST_SECONDS = 30.0
LONGEST_ASKED_SECONDS = 3600.0
"""No longer is waited, whatever a Retry-After says."""
_REDIRECTS = 5
_TIMEOUT = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)


class Refused(Exception):
    """What was asked for did not come.

    Attributes:
        status: That of HTTP; None where nobody answered as a hub would.
        retry_after: Seconds that the host wants to be left alone.
        passing: It may come later, without anybody's doing.
    """

    def __init__(
        self, message: str, status: int | None = None, retry_after: float | None = None, *, passing: bool = False
    ) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after
        self.passing = passing or status == 429 or (status or 0) >= 500


class Away(Refused):
    """No connection to the host that was asked: it would not answer other questions either."""

    def __init__(self, message: str) -> None:
        super().__init__(message, passing=True)


@dataclass(frozen=True)
class Answer:
    """The bytes, cut at the limit, whether there were more, and the headers of the host that was asked first."""

    body: bytes
    more: bool
    headers: dict[str, str] = field(default_factory=dict)


def session() -> aiohttp.ClientSession:
    """Return a session for `get`: nothing unpacked that may be a bomb, no cookies.

    It does not trust the environment: aiohttp would send the passwords of a ~/.netrc along, in place of tokens.
    """
    return aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), timeout=_TIMEOUT)


async def get(client: aiohttp.ClientSession, url: str, token: str, limit: int, start: int | None = None) -> Answer:
    """Return the first `limit` bytes from `start`, or of the whole; the token goes to the host of `url` alone.

    Proxies are those of the environment (HTTPS_PROXY, NO_PROXY …).

    Raises:
        Away: the host of `url` cannot be reached.
        Refused: it answers with an error, with other bytes than asked for, or not in time; or it sends readers on
            to a host that cannot be reached.
    """
    headers, origin = {"Accept-Encoding": "identity"}, _origin(url)
    if start is not None:
        headers["Range"] = f"bytes={start}-{start + limit - 1}"
    seen: dict[str, str] = {}
    for _ in range(_REDIRECTS):
        secret = {"Authorization": f"Bearer {token}"} if token and _origin(url) == origin else {}
        try:
            async with client.get(url, headers=headers | secret, allow_redirects=False, proxy=_proxy(url)) as answer:
                seen = {name.lower(): value for name, value in answer.headers.items()} | seen
                if answer.status in (301, 302, 303, 307, 308):
                    url = _next(url, answer.headers.get("Location", ""))
                    continue
                return await _take(answer, start, limit, seen)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            said = f"{_host(url)} cannot be reached: {_reason(error)}"
            raise (Away(said) if _origin(url) == origin else Refused(said, passing=True)) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError) as error:
            raise Refused(f"{_host(url)} breaks off: {_reason(error)}", passing=True) from error
        except TimeoutError as error:
            raise Refused(f"{_host(url)} does not answer in time", passing=True) from error
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise Refused(f"{_host(url)} answers something else than HTTP: {type(error).__name__}") from error
    raise Refused(f"{_host(url)} sends readers on for ever")


async def get_json(client: aiohttp.ClientSession, url: str, token: str, limit: int) -> tuple[Any, Answer]:
    """Return a JSON document of at most `limit` bytes and the answer it came in. Raises Refused."""
    answer = await get(client, url, token, limit)
    if answer.more:
        raise Refused(f"{_name(url)} is larger than {limit} bytes, which no file of its kind is")
    try:
        return json.loads(answer.body), answer
    except (ValueError, RecursionError) as error:
        raise Refused(f"{_name(url)} is not JSON") from error


async def _take(answer: aiohttp.ClientResponse, start: int | None, limit: int, headers: dict[str, str]) -> Answer:
    if answer.status not in (200, 206):
        raise Refused(f"{answer.url.host} answers {answer.status}", answer.status, _retry_after(answer))
    if answer.status == 206 and not _content_range(answer).startswith(f"bytes {start}-"):
        raise Refused(f"{answer.url.host} answers with other bytes than it was asked for")
    if answer.status == 200 and start:
        raise Refused(f"{answer.url.host} ignores range requests")
    body = bytearray()
    while len(body) <= limit and (block := await answer.content.read(limit + 1 - len(body))):
        body += block
    return Answer(bytes(body[:limit]), len(body) > limit, headers)


def _content_range(answer: aiohttp.ClientResponse) -> str:
    return " ".join(answer.headers.get("Content-Range", "").split())


def _retry_after(answer: aiohttp.ClientResponse) -> float | None:
    try:
        said = float(answer.headers["Retry-After"])
    except (KeyError, ValueError):
        return None
    return min(max(0.0, said), LONGEST_ASKED_SECONDS)


def _next(url: str, location: str) -> str:
    """Return where a redirect leads. Raises Refused: nowhere, or from an encrypted host to one that is not."""
    found = urljoin(url, location)
    scheme = urlsplit(found).scheme
    if not location or scheme not in ("http", "https") or (scheme == "http" and url.startswith("https:")):
        raise Refused(f"{_host(url)} sends readers on to where nobody should follow")
    return found


def _proxy(url: str) -> str | None:
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _name(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]


def _reason(error: Exception) -> str:
    """Say it without the address, which the sentence has already."""
    return str(getattr(error, "os_error", "") or error) or type(error).__name__
