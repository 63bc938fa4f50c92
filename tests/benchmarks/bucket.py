"""A bucket of a million objects for benchmarks, as a process of its own: listings are rendered before they are asked
for, so that what is measured is the client.

``python -m tests.benchmarks.bucket KEYS MESSAGES`` prints its port, and serves until its standard input ends. It
answers ListObjectsV2, HEAD, and the queue of MESSAGES notifications by SQS's JSON protocol.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import sys
from typing import Any
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

from aiohttp import web

PAGE = 1000


def key_of(number: int) -> str:
    """Like uploads that are named by tenant, day and number."""
    return f"tenant-{number % 10}/2026/{number // 10 % 365:03}/upload-{number:08}.mp4"


def entry(key: str, number: int) -> str:
    """One object in a listing."""
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-20T08:00:00.000Z</LastModified>"
        f"<ETag>&quot;{number:032x}&quot;</ETag><Size>{1000 + number}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


class Bucket:
    """See the module."""

    def __init__(self, count: int, messages: int) -> None:
        pairs = sorted((key_of(number), number) for number in range(count))
        self.keys = [key for key, _ in pairs]
        self.numbers = dict(pairs)
        self.pages = {start: self._render(start, start + PAGE) for start in range(0, count, PAGE)}
        self.waiting = list(range(messages))
        self.deleted = 0

    def _render(self, start: int, end: int) -> bytes:
        keys = self.keys[start:end]
        more = end < len(self.keys)
        token = f"<NextContinuationToken>{keys[-1]}</NextContinuationToken>" if more else ""
        entries = "".join(entry(key, self.numbers[key]) for key in keys)
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>bench</Name><Prefix></Prefix><KeyCount>{len(keys)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
        ).encode()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any request."""
        target = request.headers.get("X-Amz-Target", "")
        if target:
            return self._queue(target.partition(".")[2], await request.json())
        key = unquote_plus(request.path.removeprefix("/bench").lstrip("/"))
        if key:
            number = self.numbers.get(key, 0)
            length = {"Content-Length": str(1000 + number), "Last-Modified": "Fri, 20 Nov 2026 08:00:00 GMT"}
            return web.Response(headers={**length, "ETag": f'"{number:032x}"'})
        behind = request.query.get("continuation-token") or request.query.get("start-after", "")
        if request.query.get("prefix") or request.query.get("delimiter"):
            return self._directory(request.query.get("prefix", ""), request.query.get("delimiter", ""), behind)
        start = bisect.bisect_right(self.keys, behind) if behind else 0
        body = self.pages.get(start) or self._render(start, start + PAGE)
        return web.Response(body=body, content_type="application/xml")

    def _directory(self, prefix: str, delimiter: str, behind: str) -> web.Response:
        """What is directly below a prefix, for programs that walk a bucket like a tree."""
        start = bisect.bisect_right(self.keys, behind) if behind > prefix else bisect.bisect_left(self.keys, prefix)
        shown: list[str] = []
        last = ""
        while start < len(self.keys) and self.keys[start].startswith(prefix) and len(shown) < PAGE:
            last = self.keys[start]
            head, found, _ = last[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                last = f"{prefix}{head}{delimiter}\U0010ffff"
                shown.append(f"<CommonPrefixes><Prefix>{prefix}{head}{delimiter}</Prefix></CommonPrefixes>")
                start = bisect.bisect_left(self.keys, last)
            else:
                shown.append(entry(last, self.numbers[last]))
                start += 1
        more = start < len(self.keys) and self.keys[start].startswith(prefix)
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>bench</Name><Prefix>{prefix}</Prefix><KeyCount>{len(shown)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(shown)}</ListBucketResult>"
        )
        return web.Response(text=body, content_type="application/xml")

    def _queue(self, operation: str, given: dict[str, Any]) -> web.Response:
        answer: dict[str, Any] = {}
        if operation == "ReceiveMessage":
            taken, self.waiting = self.waiting[-10:], self.waiting[:-10]
            answer = {"Messages": [_message(number) for number in taken]}
        elif operation == "DeleteMessageBatch":
            self.deleted += len(given["Entries"])
            answer = {"Successful": [{"Id": item["Id"]} for item in given["Entries"]], "Failed": []}
        else:
            answer = {"Attributes": {"QueueArn": "arn:aws:sqs:us-east-1:0:bench", "Deleted": str(self.deleted)}}
        return web.Response(body=json.dumps(answer).encode(), content_type="application/x-amz-json-1.0")


def record(number: int) -> dict[str, Any]:
    """What S3 says of one object."""
    found = {"key": key_of(number), "size": 1000 + number, "eTag": f"{number:032x}", "sequencer": f"{number:016X}"}
    return {
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventTime": "2026-11-20T08:00:00.000Z",
        "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "bench"}, "object": found},
    }  # fmt: skip


def _message(number: int) -> dict[str, str]:
    return {
        "MessageId": str(number), "ReceiptHandle": str(number), "Body": json.dumps({"Records": [record(number)]})
    }  # fmt: skip


async def serve(count: int, messages: int) -> None:
    """Until standard input ends."""
    bucket = Bucket(count, messages)
    runner = web.ServerRunner(web.Server(bucket.handle))  # type: ignore[arg-type]
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
