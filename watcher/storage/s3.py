"""A bucket in any S3-compatible store: AWS, MinIO, Ceph, RustFS …

Reads name the version (``versionId``) or the ETag (``If-Match``), so an object that is overwritten while it is
read is noticed. Large files move in parts, several at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import Field

from watcher import aws
from watcher.errors import ObjectNotFound, PermanentError, TransientError, WatcherError
from watcher.model.objects import Expected, ObjectInfo, key_bytes, nothing_expected
from watcher.storage._listing import ARCHIVED, glimpse, parsed
from watcher.storage.base import HEAD, Before, Page, Progress, Storage, Upload
from watcher.together import together

PART = HEAD
PARALLEL = 4
CHUNK = 256 * 1024
MAX_PARTS = 10_000
LISTINGS = 64
"""Listings that may run at once."""


class Options(aws.ClientOptions):
    """A bucket of an S3-compatible store."""

    bucket: str | None = None
    """The bucket, when it is not the name of this storage."""
    addressing: str = Field(default="auto", pattern="^(auto|path|virtual)$")
    """``path`` puts the bucket into the path, ``virtual`` into the host name."""
    requester_pays: bool = False
    """Whether to pay for the requests, where the bucket is somebody else's and asks for that."""


class S3Storage(Storage):
    """See the module."""

    ordered_listing = True

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.region = options.region
        self.bucket = options.bucket or name
        self._options = options
        self._addressing = options.addressing
        self._stack = contextlib.AsyncExitStack()
        self.client: Any = None
        self._listing: Any = None
        """A client of its own, so that sweeps never take a connection from a HEAD."""

    async def __aenter__(self) -> Self:
        self.client = await self._connected()
        return self

    async def _connected(self, **further: Any) -> Any:
        made = await self._stack.enter_async_context(
            aws.client("s3", self._options, addressing=self._addressing, **further)
        )
        if self._options.requester_pays:
            aws.pay(made)
        return made

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @contextlib.contextmanager
    def translated(self, key: str) -> Iterator[None]:
        """Errors of the library in this project's terms."""
        try:
            yield
        except WatcherError:
            raise
        except Exception as error:
            what = f"{self.name}/{key}" if key else f"bucket {self.bucket}"
            raise aws.translated(error, what) from error

    async def head(self, key: str, version_id: str | None = None) -> ObjectInfo:
        version = {"VersionId": version_id} if version_id is not None else {}
        with self.translated(key):
            found = await self.client.head_object(Bucket=self.bucket, Key=key, **version)
        return self._info(key, found, found.get("ContentLength", 0), found.get("VersionId"), found.get("Metadata", {}))

    def _info(
        self, key: str, found: Any, size: int, version_id: str | None, metadata: Mapping[str, str] | None
    ) -> ObjectInfo:
        return ObjectInfo(
            storage=self.name,
            key=key,
            size=size,
            etag=str(found.get("ETag", "")).strip('"'),
            last_modified=int(found["LastModified"].timestamp()),
            version_id=None if version_id in (None, "", "null") else version_id,
            metadata=metadata,
            archived=_is_archived(found),
        )

    async def fetch(self, info: ObjectInfo, path: Path, progress: Progress | None = None) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        parts = [(start, min(start + PART, info.size)) for start in range(0, info.size, PART)]
        try:
            await together(
                [partial(self._fetch_part, info, descriptor, *part, progress) for part in parts], limit=PARALLEL
            )
        finally:
            os.close(descriptor)

    async def _fetch_part(
        self,
        info: ObjectInfo,
        descriptor: int,
        start: int,
        end: int,
        progress: Progress | None,
    ) -> None:
        exact = _exactly(info)
        if (start, end) != (0, info.size):
            exact["Range"] = f"bytes={start}-{end - 1}"
        with self.translated(info.key):
            answer = await self.client.get_object(Bucket=self.bucket, Key=info.key, **exact)
            position = start
            async with answer["Body"] as body:
                async for chunk in body.iter_chunks(CHUNK):
                    await asyncio.to_thread(os.pwrite, descriptor, chunk, position)
                    position += len(chunk)
                    if progress is not None:
                        progress(len(chunk))
        if position != end:
            raise aws.translated(ConnectionError("the connection ended early"), info.uri)

    async def read(self, info: ObjectInfo, start: int, length: int) -> bytes:
        part = {"Range": f"bytes={start}-{start + length - 1}"}
        with self.translated(info.key):
            answer = await self.client.get_object(Bucket=self.bucket, Key=info.key, **_exactly(info), **part)
            async with answer["Body"] as body:
                data: bytes = await body.read()
        return data

    async def verify(self, info: ObjectInfo) -> None:
        """A copy of exactly this version was fetched, so nothing can have changed."""

    async def put(
        self,
        path: Path,
        key: str,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        token: str,
        before: Before | None = None,
    ) -> ObjectInfo:
        if path.stat().st_size > PART:
            upload = await self.begin(key, content_type=content_type, metadata=metadata)
            return await upload.finish(path, before)
        with self.translated(key):
            body = await asyncio.to_thread(path.read_bytes)
            await self.client.put_object(
                Bucket=self.bucket, Key=key, Body=body, ContentType=content_type, Metadata=dict(metadata)
            )
        return await self.written(key, len(body), before)

    async def written(self, key: str, size: int, before: Before | None) -> ObjectInfo:
        """The version that was just written."""
        info = await self.head(key)
        if info.size != size:
            raise PermanentError(
                f"{info.uri} has {info.size} bytes after {size} were written: somebody else wrote it too"
            )
        if before is not None:
            await before(info)
        return info

    async def begin(self, key: str, *, content_type: str, metadata: Mapping[str, str]) -> S3Upload:
        with self.translated(key):
            begun = await self.client.create_multipart_upload(
                Bucket=self.bucket, Key=key, ContentType=content_type, Metadata=dict(metadata)
            )
        return S3Upload(self, key, begun["UploadId"])

    async def discard(self, key: str, token: str) -> None:
        with self.translated(key):
            found = await self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=key)
            for upload in found.get("Uploads", []):
                if upload["Key"] == key:
                    with contextlib.suppress(ObjectNotFound), self.translated(key):
                        await self.client.abort_multipart_upload(
                            Bucket=self.bucket, Key=key, UploadId=upload["UploadId"]
                        )

    async def list(self, prefix: str = "") -> AsyncIterator[list[ObjectInfo]]:
        """Pages of up to 1 000; ends only when the store says that there is no more."""
        async for page in self.pages(prefix):
            yield list(page.infos)

    async def _lister(self) -> Any:
        if self._listing is None:
            self._listing = await self._connected(pool=LISTINGS)
            aws.leave_listings(self._listing)
        return self._listing

    async def pages(
        self, prefix: str = "", after: str = "", expected: Expected = nothing_expected, until: str | None = None
    ) -> AsyncIterator[Page]:
        """Read beside the event loop, while the next one is asked for where its token can be seen."""
        token: str | None = None
        asked = asyncio.create_task(self._page(prefix, after, token))
        try:
            while True:
                body, date = await asked
                seen, last = glimpse(body)
                if until is not None and last >= key_bytes(until):
                    seen = None
                if seen is not None:
                    asked = asyncio.create_task(self._page(prefix, after, seen))
                page, following = await parsed(body, self.name, self.bucket, date, expected(after))
                after = page.last or after
                yield page
                if following is None or (until is not None and after >= until):
                    return
                if following == token:
                    raise TransientError(f"listing of {self.bucket}: the same page comes again and again")
                if following != seen:
                    await _given_up(asked)
                    asked = asyncio.create_task(self._page(prefix, after, following))
                token = following
        finally:
            await _given_up(asked)

    async def _page(self, prefix: str, after: str, token: str | None) -> tuple[bytes, str | None]:
        """The text of a page and when it was sent, by the store's clock."""
        position = {"StartAfter": after} if token is None else {"ContinuationToken": token}
        with self.translated(""):
            answer = await (await self._lister()).list_objects_v2(
                Bucket=self.bucket, Prefix=prefix, EncodingType="url", **position
            )
        return answer[aws.RAW], answer["ResponseMetadata"]["HTTPHeaders"].get("date")

    async def signed(self, method: str, query: str) -> tuple[str, dict[str, str]]:
        """The address of a request to the bucket that the library does not know, and its headers."""
        base = self._options.endpoint_url or self.client.meta.endpoint_url
        return await aws.signed(self._options, method, f"{base.rstrip('/')}/{self.bucket}?{query}")

    async def notifications(self) -> dict[str, Any]:
        """The bucket's notification configuration; raises PermanentError where the store has none of that kind."""
        with self.translated(""):
            found: dict[str, Any] = await self.client.get_bucket_notification_configuration(Bucket=self.bucket)
        return found

    async def set_notifications(self, configuration: Mapping[str, Any]) -> None:
        """Replace it."""
        with self.translated(""):
            await self.client.put_bucket_notification_configuration(
                Bucket=self.bucket, NotificationConfiguration=dict(configuration)
            )

    async def delete(self, key: str) -> None:
        with self.translated(key):
            await self.client.delete_object(Bucket=self.bucket, Key=key)

    async def check(self) -> None:
        with self.translated(""):
            await self.client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)


class S3Upload(Upload):
    """A multipart upload: parts from the second on are sent as the file grows, the first one last."""

    def __init__(self, storage: S3Storage, key: str, upload_id: str) -> None:
        self._storage = storage
        self._key = key
        self._upload = {"Bucket": storage.bucket, "Key": key, "UploadId": upload_id}
        self._parts: dict[int, str] = {}
        self._size = PART

    async def grown(self, path: Path, size: int) -> None:
        if self._size == PART and size < MAX_PARTS * PART:
            await self._send(path, [number for number in range(2, size // PART + 1) if number not in self._parts])

    async def closed(self, path: Path) -> None:
        size = path.stat().st_size
        if not self._parts:
            self._size = max(PART, -(-size // MAX_PARTS))
        count = -(-size // self._size)
        await self._send(path, [number for number in range(1, count + 1) if number not in self._parts])

    async def finish(self, path: Path, before: Before | None = None) -> ObjectInfo:
        size = path.stat().st_size
        try:
            await self.closed(path)
            parts = [{"PartNumber": number, "ETag": self._parts[number]} for number in sorted(self._parts)]
            with self._storage.translated(self._key):
                await self._storage.client.complete_multipart_upload(**self._upload, MultipartUpload={"Parts": parts})
        except BaseException:
            await asyncio.shield(self.abort())
            raise
        return await self._storage.written(self._key, size, before)

    async def abort(self) -> None:
        with contextlib.suppress(Exception):
            await self._storage.client.abort_multipart_upload(**self._upload)

    async def _send(self, path: Path, numbers: list[int]) -> None:
        await together([partial(self._send_part, path, number) for number in numbers], limit=PARALLEL)

    async def _send_part(self, path: Path, number: int) -> None:
        with self._storage.translated(self._key):
            body = await asyncio.to_thread(_read, path, (number - 1) * self._size, self._size)
            answer = await self._storage.client.upload_part(**self._upload, PartNumber=number, Body=body)
            self._parts[number] = answer["ETag"]


async def _given_up(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _is_archived(found: Any) -> bool:
    """Whether the bytes have to be restored first, or are being restored (``x-amz-restore`` of HEAD)."""
    if found.get("StorageClass", "") not in ARCHIVED:
        return False
    return 'ongoing-request="false"' not in str(found.get("Restore", ""))


def _exactly(info: ObjectInfo) -> dict[str, str]:
    """What makes a read fail unless it is of this version."""
    return {"VersionId": info.version_id} if info.version_id is not None else {"IfMatch": f'"{info.etag}"'}
