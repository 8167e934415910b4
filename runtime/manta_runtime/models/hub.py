"""hf://: a hub that speaks the protocol of huggingface.co. HF_ENDPOINT may point to a mirror.

huggingface_hub asks and explains; the bytes are our own range requests, because its download starts each file anew
after a kill and checks no hash (docs/weights.md). A file's signed address is asked for once, not for every chunk: hubs
limit the rate of these questions.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from manta_runtime.models.answers import judge_status, unreachable
from manta_runtime.models.failure import ChangedError, FetchError, PermanentError, TransientError
from manta_runtime.models.files import Listing, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub.hf_api import RepoSibling

    from manta_runtime.models.settings import Asked

_TIMEOUT = httpx2.Timeout(30, connect=10)
_MOST_ENTRIES = 50_000  # beyond, hubs may leave some out


class Hub:
    """A repository of a hub at a revision; `token` "" for none, `endpoint` the hub's address."""

    def __init__(
        self, repository: str, revision: str, endpoint: str, token: str, connections: int, asked: Asked
    ) -> None:
        self._repository = repository
        self._revision = revision or "main"
        self._asked = asked
        self._key = f"key HF_TOKEN of {asked.whose}"
        self._pinned = False
        self._endpoint = endpoint
        self._token = token
        self._api = HfApi(endpoint=endpoint, token=token or False)
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._client = httpx2.Client(timeout=_TIMEOUT, limits=limits, follow_redirects=True)
        self._commit = ""
        self._addresses: dict[str, str] = {}
        self._asking: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def listing(self) -> Listing:
        """Return the files of the commit that the revision is now."""
        where = f"hf://{self._repository} at {self._revision}"
        with self._judged(where):
            # Not list_repo_tree(): it has no timeout, and sleeps for as long as a server's Retry-After says.
            try:
                info = self._api.model_info(self._repository, revision=self._revision, timeout=30, files_metadata=True)
                found = info.siblings or []
                files = tuple(_remote(entry) for entry in found)
            except (ValueError, KeyError, TypeError) as error:
                if isinstance(error, HFValidationError | HfHubHTTPError):
                    raise
                raise PermanentError(
                    f"{where}: what answers at {self._endpoint} is no hub: check HF_ENDPOINT and the proxies"
                ) from error
        if len(found) >= _MOST_ENTRIES:
            raise PermanentError(f"{where} has more than {_MOST_ENTRIES} files: that is no model")
        self._commit = info.sha or self._revision
        return Listing(self._commit, files)

    def pin(self, resolved: str) -> None:
        """List this commit from now on, whatever the revision is by now."""
        self._revision, self._pinned = resolved, True

    def read(self, file: RemoteFile, start: int, end: int) -> Iterator[bytes]:
        """Yield a range of a file."""
        what = f"{file.path} of hf://{self._repository}"
        with self._judged(what):
            address = self._address(file)
            headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
            if _origin(address) == _origin(self._endpoint):
                headers |= {"Authorization": f"Bearer {self._token}"} if self._token else {}
            with self._client.stream("GET", address, headers=headers) as response:
                self._check(response, file, start, end, what)
                left = end - start
                for block in response.iter_raw():
                    yield block[:left]
                    left -= len(block)
                    if left <= 0:
                        return

    def is_hash_of_content(self, file: RemoteFile) -> bool:
        """Return True: hubs know their files by the hash of their content."""
        del file
        return True

    def _address(self, file: RemoteFile) -> str:
        with self._lock:
            asking = self._asking[file.path]
        with asking:  # the threads of one file ask once
            if known := self._addresses.get(file.path):
                return known
            url = hf_hub_url(self._repository, file.path, revision=self._commit, endpoint=self._endpoint)
            found = get_hf_file_metadata(url, token=self._token or False, timeout=30, endpoint=self._endpoint).location
            self._addresses[file.path] = found
            return found

    def _check(self, response: httpx2.Response, file: RemoteFile, start: int, end: int, what: str) -> None:
        status = response.status_code
        if status == 206 or (status == 200 and start == 0):
            return
        if status == 200:
            raise PermanentError(f"{what}: the server ignores range requests: use another HF_ENDPOINT or proxy")
        known = self._addresses.pop(file.path, "")
        if status in (400, 401, 403, 404, 410) and _origin(known) != _origin(self._endpoint):
            # Signed addresses expire: ask for a new one. If the hub itself refuses, that is seen there.
            raise TransientError(f"{what}: the signed address answers {status}")
        if status == 416:
            raise TransientError(f"{what}: the server has no bytes {start}-{end - 1}")
        raise self._judge(status, response, what)

    def _judge(self, status: int, response: httpx2.Response, what: str) -> FetchError:
        if status == 401:
            return PermanentError(f"{what}: {status}: the hub does not accept the token: check the {self._key}")
        if status == 403:
            return PermanentError(f"{what}: {status}: the token may not read this: check the rights of the {self._key}")
        if status == 404:
            return ChangedError(f"{what}: {status}: the file is no longer there")
        return judge_status(status, response.headers, what)

    @contextmanager
    def _judged(self, what: str) -> Iterator[None]:
        """Turn the errors of both libraries into ours, without their texts: these may hold signed addresses."""
        try:
            yield
        except GatedRepoError as error:
            raise PermanentError(
                f"{what}: the model is gated: accept its licence on {self._endpoint}/{self._repository} with the "
                f"account of the token, and give that token as {self._key}"
            ) from error
        except RevisionNotFoundError as error:
            more = f"check {self._asked.field}.revision"
            if self._pinned:
                more = (
                    "the damaged model in the cache was of it: remove its .KEY.partial from the cache to take another"
                )
            raise PermanentError(f"{what}: there is no such revision: {more}") from error
        except RepositoryNotFoundError as error:
            raise PermanentError(self._not_found(what, error.response.status_code)) from error
        except HfHubHTTPError as error:
            raise self._judge(error.response.status_code, error.response, what) from error
        except HFValidationError as error:
            raise PermanentError(f"{what}: the hub has no such names: check {self._asked.field}.uri") from error
        except httpx2.ConnectError as error:
            raise unreachable(f"{what} at {self._endpoint}", str(error), "HF_ENDPOINT") from error
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise TransientError(f"{what}: the connection broke ({type(error).__name__})") from error

    def _not_found(self, what: str, status: int) -> str:
        if self._token and status == 401:
            return f"{what}: {status}: the hub does not accept the token, or has no such model: check the {self._key}"
        more = "" if self._token else f"; a private or gated one needs a token: {self._key}"
        return f"{what}: {status}: {self._endpoint} has no such model: check {self._asked.field}.uri{more}"


def _remote(entry: RepoSibling) -> RemoteFile:
    if entry.lfs is not None:
        return RemoteFile(entry.rfilename, entry.lfs.size, "sha256", entry.lfs.sha256)
    if entry.size is None:
        raise ValueError(f"no size of {entry.rfilename}")
    return RemoteFile(entry.rfilename, entry.size, "git-sha1" if entry.blob_id else "size", entry.blob_id or "")


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc
