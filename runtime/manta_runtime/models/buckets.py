"""s3:// and gs://: objects below a prefix, through obstore (Rust's object_store: signs, finds credentials, lists).

Retries are ours (retry.py), so that its own are off. Its errors are told by their kind only: their texts hold requests.
"""

from __future__ import annotations

import base64
import re
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import obstore
from obstore import exceptions
from obstore.store import GCSStore, S3Store

from manta_runtime.models.answers import is_retried, judge_status, unreachable
from manta_runtime.models.failure import ChangedError, FetchError, PermanentError, TransientError
from manta_runtime.models.files import HashKind, Listing, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from manta_runtime.models.settings import Asked, ModelUri

_BLOCK = 1024 * 1024
_MOST_ENTRIES = 100_000
_MD5 = re.compile(r"[0-9a-f]{32}")
_PARTS = re.compile(r"[0-9a-f]{32}-\d{1,5}")
_STATUS = re.compile(r"status: (\d{3})|\b(\d{3}) (?:Too Many|Internal|Bad Gateway|Service|Gateway)")
_NO_CREDENTIALS = re.compile(r"[Mm]issing.{0,20}(credential|AccessKey)")
_IDENTITY = re.compile(
    r"169\.254\.|metadata\.google|/computeMetadata/|/latest/(api/token|meta-data)|InstanceCredential"
)
_IDENTITY_SECONDS = 60.0  # a metadata server may start after the pod; where there is none, people should not wait long
_NO_CONNECTION = re.compile(r"dns error|[Cc]onnection refused|error trying to connect|ConnectError|kind: Connect")
_KEYS = {
    "s3": "keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "key GOOGLE_SERVICE_ACCOUNT_KEY (the account's JSON)",
}
_ENDPOINT = {"s3": "AWS_ENDPOINT_URL", "gs": "GOOGLE_BASE_URL"}
_OPTIONS: dict[str, Any] = {
    # The clock of `timeout` runs over a whole body, which may take as long as it needs: only silence counts.
    "client_options": {"timeout": "24h", "read_timeout": "30s", "connect_timeout": "10s"},
    "retry_config": {"max_retries": 0, "retry_timeout": timedelta(seconds=30)},
}


class Bucket:
    """The objects of an s3:// or gs:// URI; obstore reads credentials from `environ`'s usual variables itself."""

    def __init__(self, uri: ModelUri, environ: Mapping[str, str], asked: Asked) -> None:
        self._uri = uri
        self._asked = asked
        self._prefix = f"{uri.prefix}/" if uri.prefix else ""
        self._signs = True
        self._no_identity_since: float | None = None
        address = environ.get(_ENDPOINT[uri.scheme], "")
        options = {**_OPTIONS, "client_options": {**_OPTIONS["client_options"], "allow_http": _is_plain(address)}}
        try:
            self._store = _store(uri, address, options)
        except (exceptions.BaseError, ValueError) as error:
            raise PermanentError(
                f"{uri}: the credentials or the address cannot be used: check the {self._keys}"
            ) from error

    def listing(self) -> Listing:
        """Return the objects below the prefix, their ETags being what they are verified by."""
        files: list[RemoteFile] = []
        with self._judged(str(self._uri), listing=True):
            for page in obstore.list(self._store, self._prefix or None, chunk_size=1000):
                # The marker of the folder itself, which some tools make, has no slash at its end here.
                inside = (entry for entry in page if entry["path"].startswith(self._prefix))
                for entry in inside:
                    path = entry["path"].removeprefix(self._prefix)
                    files.append(self._remote(path, entry["size"], entry["e_tag"] or ""))
                if len(files) > _MOST_ENTRIES:
                    raise PermanentError(f"{self._uri} has more than {_MOST_ENTRIES} objects: that is no model")
        files = _without_markers(files)
        if not files:
            raise PermanentError(f"{self._uri}: nothing is there: check bucket and prefix of {self._asked.field}.uri")
        return Listing("", tuple(files))

    def pin(self, resolved: str) -> None:
        """Do nothing: objects are told apart by their ETags."""

    def read(self, file: RemoteFile, start: int, end: int) -> Iterator[bytes]:
        """Yield a range of an object, of the content that was listed only."""
        with self._judged(f"{file.path} of {self._uri}"):
            options: dict[str, Any] = {"range": (start, end)}
            if file.etag:
                options["if_match"] = file.etag
            answer = obstore.get(self._store, self._prefix + file.path, options=options)  # type: ignore[arg-type]
            for block in answer.stream(min_chunk_size=_BLOCK):
                yield bytes(block)

    def is_hash_of_content(self, file: RemoteFile) -> bool:
        """Return False when the bucket encrypts with its customer's or KMS keys: such ETags are no md5."""
        answer = self._head(file)
        kind = answer.get("x-amz-server-side-encryption", "")
        return not (kind.startswith("aws:") or "x-amz-server-side-encryption-customer-algorithm" in answer)

    def _remote(self, path: str, size: int, etag: str) -> RemoteFile:
        bare = etag.strip('"')
        kind: HashKind = "size"
        if _MD5.fullmatch(bare):
            kind = "md5"
        elif _PARTS.fullmatch(bare):
            kind = "md5-parts"
        file = RemoteFile(path, size, kind, bare if kind != "size" else "", etag)
        if kind == "size" and self._uri.scheme == "gs" and (checksum := _crc32c(self._head(file))):
            return RemoteFile(path, size, "crc32c", checksum, etag)
        return file

    def _head(self, file: RemoteFile) -> Mapping[str, str]:
        """Return the headers of an object, which obstore does not tell; none where addresses cannot be signed."""
        if not self._signs:
            return {}
        try:
            url = obstore.sign(self._store, "HEAD", self._prefix + file.path, timedelta(minutes=5))
        except (exceptions.BaseError, ValueError):
            # A workload identity without the right to sign: asking again for each object would only take time.
            self._signs = False
            return {}
        try:
            answer = httpx2.head(url, timeout=30)
        except httpx2.HTTPError:
            return {}
        return answer.headers if answer.status_code == 200 else {}

    @property
    def _keys(self) -> str:
        return f"{_KEYS[self._uri.scheme]} of {self._asked.whose}"

    @contextmanager
    def _judged(self, what: str, *, listing: bool = False) -> Iterator[None]:
        try:
            yield
            self._no_identity_since = None
        except FileNotFoundError as error:
            if listing:
                raise self._by_status(what, 404, listing=True) from error
            raise ChangedError(f"{what}: the object is no longer there") from error
        except exceptions.PreconditionError as error:
            raise ChangedError(f"{what}: the object was changed during the fetch") from error
        except exceptions.UnauthenticatedError as error:
            raise self._by_status(what, 401, listing=listing) from error
        except exceptions.PermissionDeniedError as error:
            raise self._by_status(what, 403, listing=listing) from error
        except exceptions.InvalidPathError as error:
            raise PermanentError(f"{what}: an object's name has empty parts, '.' or '..': remove it") from error
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise self._other(what, str(error), listing=listing) from error

    def _by_status(self, what: str, status: int, *, listing: bool) -> FetchError:
        if status == 404 and listing:
            return PermanentError(f"{what}: 404: there is no bucket {self._uri.name}: check {self._asked.field}.uri")
        if status in (400, 401, 403):
            return PermanentError(
                f"{what}: {status}: wrong credentials, or no right to list and read: check the {self._keys}"
            )
        return judge_status(status, {}, what)

    def _other(self, what: str, text: str, *, listing: bool) -> FetchError:
        if _NO_CREDENTIALS.search(text):
            return self._no_credentials(what)
        if _IDENTITY.search(text):
            return self._no_token(what, text)
        if "redirect" in text.lower():
            return PermanentError(f"{what}: the bucket is in another region: set AWS_REGION")
        if found := _STATUS.search(text):
            return self._by_status(what, int(found[1] or found[2]), listing=listing)
        if found := _NO_CONNECTION.search(text):
            return unreachable(what, found[0], _ENDPOINT[self._uri.scheme])
        return TransientError(f"{what}: the connection broke")

    def _no_credentials(self, what: str) -> PermanentError:
        return PermanentError(f"{what}: no credentials: give the {self._keys}, or a workload identity to the pod")

    def _no_token(self, what: str, text: str) -> FetchError:
        """Judge an error of the server that has the pod's identity, which says no, or is not there (yet)."""
        found = _STATUS.search(text)
        status = int(found[1] or found[2]) if found else None
        if status is not None and not is_retried(status):
            return self._no_credentials(what)
        now = time.monotonic()
        self._no_identity_since = self._no_identity_since or now
        if now - self._no_identity_since > _IDENTITY_SECONDS:
            return self._no_credentials(what)
        why = "does not answer" if status is None else f"answers {status}"
        return TransientError(
            f"{what}: no keys, and the server of the pod's identity {why}: give the {self._keys}, or a workload "
            "identity to the pod"
        )


def _store(uri: ModelUri, address: str, options: dict[str, Any]) -> S3Store | GCSStore:
    if uri.scheme == "s3":
        return S3Store(uri.name, config={"endpoint": address} if address else None, **options)
    return GCSStore(uri.name, config={"base_url": address} if address else None, **options)


def _without_markers(files: list[RemoteFile]) -> list[RemoteFile]:
    """Drop the empty objects that stand for folders."""
    folders = {file.path[: at.start()] for file in files for at in re.finditer("/", file.path)}
    return [file for file in files if file.size or file.path not in folders]


def _is_plain(address: str) -> bool:
    return address.startswith("http://")


def _crc32c(headers: Mapping[str, str]) -> str:
    found = re.search(r"crc32c=([A-Za-z0-9+/=]+)", headers.get("x-goog-hash", ""))
    return base64.b64decode(found[1]).hex() if found else ""
