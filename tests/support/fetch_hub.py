"""A hub for the tests of `manta-runtime fetch`: the API of huggingface.co on a local port, with faults to inject.

Speaks /api/models/…/revision with the files' metadata, /resolve with LFS headers and redirects to a CDN path, Range.
"""

import asyncio
import hashlib

from aiohttp import web
from fetch_server import ThreadedServer

COMMIT = "c0ffee" * 6 + "abcd"


class Faults:
    """What goes wrong; every field counts down or holds while set."""

    def __init__(self):
        self.cut_after = {}  # path → how many answers are cut in the middle
        self.statuses = []  # statuses that the next requests for bytes get
        self.retry_after = None
        self.wrong = {}  # path → how many answers carry wrong bytes
        self.delay = 0.0  # seconds before each block of 64 kB
        self.hold_at = None  # bytes sent after which nothing is, until this is None again
        self.api_status = None
        self.api_code = ""
        self.expire = 0  # how many answers of the CDN are 403


class FakeHub(ThreadedServer):
    """Serves `files` (path → bytes) as one repository, `org/model`; runs on a thread of its own."""

    def __init__(self, files, lfs=(".safetensors", ".bin"), token=""):
        super().__init__()
        self.files, self.lfs, self.token = files, lfs, token
        self.faults = Faults()
        self.leaked = False

    def routes(self, router):
        router.add_get("/api/models/{org}/{name}/revision/{revision}", self._info)
        router.add_route("*", "/org/model/resolve/{revision}/{path:.+}", self._resolve)
        router.add_get("/cdn/{path:.+}", self._cdn)

    def _refusal(self, request):
        self.requests.append(f"{request.method} {request.path}")
        if self.faults.api_status:
            headers = {"X-Error-Code": self.faults.api_code} if self.faults.api_code else {}
            return web.json_response({"error": "no"}, status=self.faults.api_status, headers=headers)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            code = {"X-Error-Code": "GatedRepo"} if request.headers.get("Authorization") else {}
            return web.json_response({"error": "token"}, status=401, headers=code)
        if request.match_info.get("name", "model") != "model":
            return web.json_response({"error": "none"}, status=404, headers={"X-Error-Code": "RepoNotFound"})
        if request.match_info.get("revision") not in ("main", COMMIT, "v1"):
            return web.json_response({"error": "none"}, status=404, headers={"X-Error-Code": "RevisionNotFound"})
        return None

    async def _info(self, request):
        if refusal := self._refusal(request):
            return refusal
        files = [self._entry(name) for name in sorted(self.files)] if "blobs" in request.query else []
        return web.json_response({"id": "org/model", "sha": COMMIT, "siblings": files})

    def _entry(self, name):
        data = self.files[name]
        entry = {"rfilename": name, "size": len(data), "blobId": git_sha1(data)}
        if name.endswith(self.lfs):
            entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return entry

    async def _resolve(self, request):
        if refusal := self._refusal(request):
            return refusal
        path = request.match_info["path"]
        if path not in self.files:
            return web.json_response({"error": "none"}, status=404, headers={"X-Error-Code": "EntryNotFound"})
        data = self.files[path]
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{git_sha1(data)}"', "Accept-Ranges": "bytes"}
        if path.endswith(self.lfs):
            headers |= {"X-Linked-Size": str(len(data)), "X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
            # Another name of this machine: another origin, as a CDN is.
            there = f"http://localhost:{self.port}/cdn/{path}?X-Amz-Signature=s3cr3t-signature"
            return web.Response(status=302, headers={**headers, "Location": there})
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(len(data))})
        return await self._bytes(request, path)

    async def _cdn(self, request):
        self.requests.append(f"{request.method} {request.path}")
        self.leaked = self.leaked or "Authorization" in request.headers
        if self.faults.expire:
            self.faults.expire -= 1
            return web.Response(status=403)
        return await self._bytes(request, request.match_info["path"])

    async def _bytes(self, request, path):
        faults = self.faults
        if faults.statuses:
            headers = {"Retry-After": str(faults.retry_after)} if faults.retry_after is not None else {}
            return web.Response(status=faults.statuses.pop(0), headers=headers)
        data = self.files[path]
        if faults.wrong.get(path):
            faults.wrong[path] -= 1
            data = bytes(byte ^ 1 for byte in data)
        asked = request.http_range
        start, end = asked.start or 0, min(len(data), asked.stop if asked.stop is not None else len(data))
        response = web.StreamResponse(status=206 if "Range" in request.headers else 200)
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        response.content_length = end - start
        await response.prepare(request)
        cut = faults.cut_after.get(path, 0) > 0
        if cut:
            faults.cut_after[path] -= 1
            end = start + (end - start) // 2
        for at in range(start, end, 65536):
            if faults.delay:
                await asyncio.sleep(faults.delay)
            while faults.hold_at is not None and self.sent >= faults.hold_at:  # noqa: ASYNC110 - the tests' thread releases it
                await asyncio.sleep(0.01)
            block = data[at : min(at + 65536, end)]
            await response.write(block)
            self.sent += len(block)
        if cut:
            request.transport.close()
        return response


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
