"""An S3 and an SQS of our own that fail on purpose: the real ones can't be made to lose, double and reorder.

It is a thread of the test's process, so that a test can put objects and read the log directly; the service under test
speaks HTTP with it. Unlike moto it has sequencers, version ids in events, LastModified of one's choice, and its clock
can be wrong.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import quote, quote_plus, unquote
from xml.sax.saxutils import escape

from aiohttp import web

PAGE = 1000


@dataclass
class Version:
    """One version of an object."""

    data: bytes
    etag: str
    last_modified: int
    version_id: str | None
    sequencer: str
    storage_class: str = "STANDARD"
    deleted: bool = False
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class Message:
    """One message of the queue. ``handles`` are the receipts that were given for it; the last one is good."""

    body: str
    visible: float = 0.0
    handles: list[str] = field(default_factory=list)


class FaultyStore:
    """See the module. Started and stopped as a context manager."""

    def __init__(self, *, versioned: bool = False) -> None:
        self.versioned = versioned
        self.objects: dict[str, dict[str, list[Version]]] = {}
        self.queue: list[Message] = []
        self.deleted: list[str] = []
        self.log: list[tuple[str, str]] = []
        self.skew = 0.0
        """Seconds that the store's clock is ahead."""
        self.fails: dict[str, deque[tuple[int, str]]] = {}
        """Answers instead of the right ones, by operation: (status, code)."""
        self.fail_always: dict[str, tuple[int, str]] = {}
        self.delays: dict[str, float] = {}
        self.page = PAGE
        self.mutate: Callable[[int, list[str], bool], tuple[list[str], bool, str | None]] | None = None
        """Changes a page of a listing: (number of the page, keys, truncated) → (keys, truncated, token or "")."""
        self.before_page: Callable[[int], None] | None = None
        self.on_delete: Callable[[str], None] | None = None
        self.etags = True
        self.accepts = ""
        self.wants_payment = False
        """The access key that may ask; all may where it is empty."""
        self._pages = 0
        self._sequence = 0
        self._lock = threading.RLock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self.port = 0

    # What a test does

    def __enter__(self) -> FaultyStore:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def queue_url(self) -> str:
        return f"{self.url}/000000000000/events"

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes = b"data",
        *,
        last_modified: int | None = None,
        notify: int = 1,
        storage_class: str = "STANDARD",
        metadata: dict[str, str] | None = None,
    ) -> Version:
        """Put an object and send ``notify`` notifications of it."""
        with self._lock:
            self._sequence += 1
            version = Version(
                data,
                hashlib.md5(data, usedforsecurity=False).hexdigest(),
                int(time.time() + self.skew) if last_modified is None else last_modified,
                f"v{self._sequence}" if self.versioned else None,
                f"{0x0055AED6DCD90281 + self._sequence:018X}",
                storage_class,
                metadata=metadata or {},
            )
            versions = self.objects.setdefault(bucket, {}).setdefault(key, [])
            if not self.versioned:
                versions.clear()
            versions.append(version)
        for _ in range(notify):
            self.send(json.dumps({"Records": [self.record(bucket, key, version)]}))
        return version

    def remove(self, bucket: str, key: str) -> None:
        """Remove an object, or put a delete marker over it."""
        with self._lock:
            if self.versioned:
                self._sequence += 1
                marker = Version(b"", "", int(time.time()), f"v{self._sequence}", "", deleted=True)
                self.objects[bucket][key].append(marker)
            else:
                self.objects[bucket].pop(key, None)

    def record(self, bucket: str, key: str, version: Version, name: str = "ObjectCreated:Put") -> dict[str, Any]:
        """A notification's record of a version, as S3 writes it."""
        found: dict[str, Any] = {
            "key": quote_plus(key, safe="/"), "size": len(version.data), "eTag": version.etag,
            "sequencer": version.sequencer,
        }  # fmt: skip
        if version.version_id is not None:
            found["versionId"] = version.version_id
        when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(version.last_modified))
        return {
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventTime": when, "eventName": name,
            "s3": {"bucket": {"name": bucket}, "object": found},
        }  # fmt: skip

    def send(self, body: str) -> None:
        """Put a message into the queue."""
        with self._lock:
            self.queue.append(Message(body))

    def fail(self, operation: str, *answers: tuple[int, str]) -> None:
        """Answer the next requests of an operation so."""
        self.fails.setdefault(operation, deque()).extend(answers)

    def count(self, operation: str) -> int:
        """How many requests of an operation there were."""
        return sum(1 for name, _ in self.log if name == operation)

    # The server

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        server = web.Server(self._handle)  # type: ignore[arg-type]
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        target = request.headers.get("X-Amz-Target")
        if self.wants_payment and not target and request.headers.get("x-amz-request-payer") != "requester":
            return self._error(403, "AccessDenied", request.method)
        if self.accepts and f"Credential={self.accepts}/" not in request.headers.get("Authorization", ""):
            return _json({"__type": "InvalidAccessKeyId"}, 403) if target else self._error(403, "InvalidAccessKeyId")
        if target:
            return await self._sqs(target.partition(".")[2], await request.json(), request)
        bucket, _, key = unquote(request.raw_path.partition("?")[0].lstrip("/")).partition("/")
        operation = "LIST" if not key else request.method
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        body = await request.read() if request.method == "PUT" else b""
        with self._lock:
            self.log.append((operation, key))
        if self.delays.get(operation):
            await asyncio.sleep(self.delays[operation])
        failure = self._failure(operation) or self._failure(f"{operation} {bucket}")
        if failure is not None:
            status, code = failure
            text = (
                "" if request.method == "HEAD" else f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>"
            )
            return web.Response(status=status, text=text, content_type="application/xml", headers=self._date())
        with self._lock:
            if operation == "LIST":
                return self._list(bucket, request.query)
            if operation == "PUT":
                version = self.put(bucket, key, body, metadata=_metadata(request.headers))
                return web.Response(headers={"ETag": f'"{version.etag}"', **self._date()})
            return self._object(bucket, key, request)

    def _error(self, status: int, code: str, method: str = "GET") -> web.Response:
        text = "" if method == "HEAD" else f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>"
        return web.Response(status=status, text=text, content_type="application/xml", headers=self._date())

    def _failure(self, operation: str) -> tuple[int, str] | None:
        waiting = self.fails.get(operation)
        return waiting.popleft() if waiting else self.fail_always.get(operation)

    def _date(self) -> dict[str, str]:
        return {"Date": formatdate(time.time() + self.skew, usegmt=True)}

    def current(self, bucket: str) -> Iterator[tuple[str, Version]]:
        """The versions that a listing shows."""
        for key, versions in self.objects.get(bucket, {}).items():
            if versions and not versions[-1].deleted:
                yield key, versions[-1]

    def _list(self, bucket: str, query: Any) -> web.Response:
        if bucket not in self.objects:
            return web.Response(
                status=404, text="<Error><Code>NoSuchBucket</Code></Error>", content_type="application/xml"
            )
        self._pages += 1
        if self.before_page is not None:
            self.before_page(self._pages)
        behind = query.get("continuation-token") or query.get("start-after", "")
        behind = behind.removeprefix("after:")
        found = dict(self.current(bucket))
        keys = sorted((k for k in found if k.startswith(query.get("prefix", "")) and k > behind), key=str.encode)
        truncated, keys = len(keys) > self.page, keys[: self.page]
        token: str | None = f"after:{keys[-1]}" if truncated else None
        if self.mutate is not None:
            keys, truncated, changed = self.mutate(self._pages, keys, truncated)
            token = changed if changed is not None else token
        entries = "".join(self._entry(key, found[key]) for key in keys)
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><EncodingType>url</EncodingType><KeyCount>{len(keys)}</KeyCount>"
            f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
            + (f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else "")
            + f"{entries}</ListBucketResult>"
        )
        return web.Response(text=body, content_type="application/xml", headers=self._date())

    def _entry(self, key: str, version: Version) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(version.last_modified))
        etag = f"<ETag>&quot;{version.etag}&quot;</ETag>" if self.etags else ""
        return (
            f"<Contents><Key>{escape(quote(key, safe='/'))}</Key><LastModified>{when}</LastModified>{etag}"
            f"<Size>{len(version.data)}</Size><StorageClass>{version.storage_class}</StorageClass></Contents>"
        )

    def _object(self, bucket: str, key: str, request: web.BaseRequest) -> web.Response:
        wanted = request.query.get("versionId")
        versions = self.objects.get(bucket, {}).get(key, [])
        found = next((v for v in reversed(versions) if wanted in (None, v.version_id)), None)
        if found is None or found.deleted:
            return web.Response(status=404, headers=self._date())
        condition = request.headers.get("If-Match")
        if condition is not None and condition.strip('"') != found.etag:
            return web.Response(status=412, headers=self._date())
        headers = {
            "ETag": f'"{found.etag}"',
            "Last-Modified": formatdate(found.last_modified, usegmt=True),
            **{f"x-amz-meta-{name}": value for name, value in found.metadata.items()},
            **self._date(),
        }
        if found.storage_class != "STANDARD":
            headers["x-amz-storage-class"] = found.storage_class
        if found.version_id is not None:
            headers["x-amz-version-id"] = found.version_id
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(len(found.data))})
        part = request.headers.get("Range")
        if part:
            start, _, end = part.removeprefix("bytes=").partition("-")
            data = found.data[int(start) : int(end) + 1]
            span = f"bytes {start}-{int(start) + len(data) - 1}/{len(found.data)}"
            return web.Response(status=206, body=data, headers={**headers, "Content-Range": span})
        return web.Response(body=found.data, headers=headers)

    async def _sqs(self, operation: str, given: dict[str, Any], request: web.BaseRequest) -> web.Response:
        with self._lock:
            self.log.append((operation, ""))
        failure = self._failure(operation)
        if failure is not None:
            status, code = failure
            return _json({"__type": code, "message": "on purpose"}, status)
        if operation == "ReceiveMessage":
            return _json(await self._receive(given, request))
        if operation == "DeleteMessageBatch":
            return _json(self._delete(given["Entries"]))
        if operation == "ChangeMessageVisibility":
            with self._lock:
                for message in self.queue:
                    if given["ReceiptHandle"] in message.handles:
                        message.visible = time.monotonic() + given["VisibilityTimeout"]
            return _json({})
        return _json({"Attributes": {"QueueArn": "arn:aws:sqs:us-east-1:000000000000:events"}})

    async def _receive(self, given: dict[str, Any], request: web.BaseRequest) -> dict[str, Any]:
        deadline = time.monotonic() + min(given.get("WaitTimeSeconds", 0), 1)
        while True:
            if request.transport is None or request.transport.is_closing():
                return {}  # whoever asked has gone: nobody would acknowledge
            with self._lock:
                now = time.monotonic()
                found = [message for message in self.queue if message.visible <= now][: given["MaxNumberOfMessages"]]
                answer = []
                for message in found:
                    message.visible = now + given.get("VisibilityTimeout", 30)
                    message.handles.append(f"{id(message)}-{len(message.handles)}")
                    answer.append(
                        {"MessageId": str(id(message)), "ReceiptHandle": message.handles[-1], "Body": message.body}
                    )
            if answer or time.monotonic() >= deadline:
                return {"Messages": answer} if answer else {}
            await asyncio.sleep(0.01)

    def _delete(self, entries: list[dict[str, str]]) -> dict[str, Any]:
        done, failed = [], []
        with self._lock:
            for entry in entries:
                message = next((item for item in self.queue if item.handles[-1:] == [entry["ReceiptHandle"]]), None)
                if message is None:
                    failed.append({"Id": entry["Id"], "Code": "ReceiptHandleIsInvalid", "SenderFault": True})
                    continue
                if self.on_delete is not None:
                    self.on_delete(message.body)
                self.queue.remove(message)
                self.deleted.append(message.body)
                done.append({"Id": entry["Id"]})
        return {"Successful": done, "Failed": failed}


def _json(data: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, body=json.dumps(data).encode(), content_type="application/x-amz-json-1.0")


def _metadata(headers: Any) -> dict[str, str]:
    return {
        name[len("x-amz-meta-") :].lower(): value
        for name, value in headers.items()
        if name.lower().startswith("x-amz-meta-")
    }
