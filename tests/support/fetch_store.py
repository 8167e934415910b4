"""A bucket for the tests of `manta-runtime fetch`: what S3 and GCS have in common in their XML APIs, with faults.

Lists in pages, ranges, If-Match, ETags of single and multipart uploads, x-goog-hash. moto is the judge of S3 proper.
"""

import base64
import functools
import hashlib
from xml.sax.saxutils import escape

import google_crc32c
from aiohttp import web
from fetch_server import ThreadedServer

PAGE = 100


class FakeStore(ThreadedServer):
    """Serves `objects` (key → bytes) as the bucket `models`; runs on a thread of its own."""

    def __init__(self, objects):
        super().__init__()
        self.objects = objects
        self.etags = {}  # key → an ETag that is no md5
        self.headers = {}  # key → more headers of HEAD
        self.status = None
        self.statuses = []  # of the next requests for bytes
        self.cut = 0
        self.change_after = None  # (requests for bytes, key, new content)

    def routes(self, router):
        router.add_route("*", "/{path:.*}", self._answer)

    def etag(self, key):
        return self.etags.get(key) or f'"{md5(self.objects[key])}"'

    async def _answer(self, request):
        bucket, _, key = request.match_info["path"].partition("/")
        self.requests.append(f"{request.method} {request.path_qs}")
        if self.status:
            return web.Response(status=self.status, text="<Error><Code>Refused</Code></Error>")
        if bucket != "models":
            return web.Response(status=404, text="<Error><Code>NoSuchBucket</Code></Error>")
        if not key:
            return self._list(request)
        if key not in self.objects:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        return await self._object(request, key)

    def _list(self, request):
        prefix = request.query.get("prefix", "")
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        at = int(request.query.get("continuation-token", 0))
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key])}</Size>"
            f"<ETag>{escape(self.etag(key))}</ETag><LastModified>2026-11-01T00:00:00.000Z</LastModified></Contents>"
            for key in keys[at : at + PAGE]
        )
        more = at + PAGE < len(keys)
        token = f"<NextContinuationToken>{at + PAGE}</NextContinuationToken>" if more else ""
        text = (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>models</Name><IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}</ListBucketResult>"
        )
        return web.Response(text=text, content_type="application/xml")

    async def _object(self, request, key):
        headers = {
            "ETag": self.etag(key),
            "Last-Modified": "Sun, 01 Nov 2026 00:00:00 GMT",
            **self.headers.get(key, {}),
        }
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(len(self.objects[key]))})
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        if self.change_after:
            left, changed, data = self.change_after
            self.change_after = (left - 1, changed, data)
            if left == 0:
                self.objects[changed], self.change_after = data, None
        if request.headers.get("If-Match", self.etag(key)) != self.etag(key):
            return web.Response(status=412)
        data = self.objects[key]
        asked = request.http_range
        start, end = asked.start or 0, min(len(data), asked.stop if asked.stop is not None else len(data))
        response = web.StreamResponse(status=206, headers=headers)
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        response.content_length = end - start
        await response.prepare(request)
        if self.cut:
            self.cut -= 1
            await response.write(data[start : start + (end - start) // 2])
            request.transport.close()
            return response
        for at in range(start, end, 262144):
            await response.write(data[at : min(at + 262144, end)])
        self.sent += end - start
        return response


@functools.cache
def md5(data):
    """The hash of an object in hex; counted once, as a store does when it is put there."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def multipart_etag(data, part):
    """The ETag of an upload in parts of `part` bytes."""
    parts = [data[at : at + part] for at in range(0, len(data), part)]
    digests = b"".join(hashlib.md5(block, usedforsecurity=False).digest() for block in parts)
    return f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"'


def goog_hash(data):
    """The header by which GCS tells its checksum."""
    return {"x-goog-hash": f"crc32c={base64.b64encode(google_crc32c.value(data).to_bytes(4, 'big')).decode()}"}
