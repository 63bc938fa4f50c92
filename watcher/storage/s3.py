"""A bucket in any S3-compatible store: AWS, MinIO, Ceph, RustFS …

Reads name the version (``versionId``) or the ETag (``If-Match``), so an object that is overwritten while it is
read is noticed. Large files move in parts, several at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import Field

from watcher import aws
from watcher.errors import ObjectNotFound, PermanentError, WatcherError
from watcher.model.objects import ObjectInfo
from watcher.storage.base import Progress, Storage

PART = 16 * 1024 * 1024
PARALLEL = 4
CHUNK = 256 * 1024
MAX_PARTS = 10_000


class Options(aws.ClientOptions):
    """A bucket of an S3-compatible store."""

    bucket: str | None = None
    """The bucket, when it is not the name of this storage."""
    addressing: str = Field(default="auto", pattern="^(auto|path|virtual)$")
    """``path`` puts the bucket into the path, ``virtual`` into the host name."""


class S3Storage(Storage):
    """See the module."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.region = options.region
        self.bucket = options.bucket or name
        self._options = options
        self._addressing = options.addressing
        self._stack = contextlib.AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        self._client = await self._stack.enter_async_context(
            aws.client("s3", self._options, addressing=self._addressing)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @contextlib.contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except WatcherError:
            raise
        except Exception as error:
            what = f"{self.name}/{key}" if key else f"bucket {self.bucket}"
            raise aws.translated(error, what) from error

    async def head(self, key: str, version_id: str | None = None) -> ObjectInfo:
        version = {"VersionId": version_id} if version_id is not None else {}
        with self._translated(key):
            found = await self._client.head_object(Bucket=self.bucket, Key=key, **version)
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
        )

    async def fetch(self, info: ObjectInfo, path: Path, progress: Progress | None = None) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        limit = asyncio.Semaphore(PARALLEL)
        try:
            async with asyncio.TaskGroup() as group:
                for start in range(0, info.size, PART):
                    end = min(start + PART, info.size)
                    group.create_task(self._fetch_part(info, descriptor, start, end, limit, progress))
        except BaseExceptionGroup as group:  # an error raised in `except*` would come in a group again
            raise group.exceptions[0] from None
        finally:
            os.close(descriptor)

    async def _fetch_part(
        self,
        info: ObjectInfo,
        descriptor: int,
        start: int,
        end: int,
        limit: asyncio.Semaphore,
        progress: Progress | None,
    ) -> None:
        exact = _exactly(info)
        if (start, end) != (0, info.size):
            exact["Range"] = f"bytes={start}-{end - 1}"
        async with limit:
            with self._translated(info.key):
                answer = await self._client.get_object(Bucket=self.bucket, Key=info.key, **exact)
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
        with self._translated(info.key):
            answer = await self._client.get_object(Bucket=self.bucket, Key=info.key, **_exactly(info), **part)
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
        before: Callable[[ObjectInfo], Awaitable[None]] | None = None,
    ) -> ObjectInfo:
        size = path.stat().st_size
        extra = {"ContentType": content_type, "Metadata": dict(metadata)}
        with self._translated(key):
            if size <= PART:
                body = await asyncio.to_thread(path.read_bytes)
                await self._client.put_object(Bucket=self.bucket, Key=key, Body=body, **extra)
            else:
                await self._put_parts(path, key, size, extra)
        info = await self.head(key)
        if info.size != size:
            raise PermanentError(
                f"{info.uri} has {info.size} bytes after {size} were written: somebody else wrote it too"
            )
        if before is not None:
            await before(info)
        return info

    async def _put_parts(self, path: Path, key: str, size: int, extra: dict[str, Any]) -> None:
        part_size = max(PART, -(-size // MAX_PARTS))
        begun = await self._client.create_multipart_upload(Bucket=self.bucket, Key=key, **extra)
        upload = {"Bucket": self.bucket, "Key": key, "UploadId": begun["UploadId"]}
        limit = asyncio.Semaphore(PARALLEL)

        async def send(number: int) -> dict[str, Any]:
            async with limit:
                body = await asyncio.to_thread(_read, path, (number - 1) * part_size, part_size)
                answer = await self._client.upload_part(**upload, PartNumber=number, Body=body)
                return {"PartNumber": number, "ETag": answer["ETag"]}

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(send(number + 1)) for number in range(-(-size // part_size))]
            parts = [task.result() for task in tasks]
            await self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        except BaseException as error:
            with contextlib.suppress(Exception):
                await asyncio.shield(self._client.abort_multipart_upload(**upload))
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise

    async def discard(self, key: str, token: str) -> None:
        with self._translated(key):
            found = await self._client.list_multipart_uploads(Bucket=self.bucket, Prefix=key)
            for upload in found.get("Uploads", []):
                if upload["Key"] == key:
                    with contextlib.suppress(ObjectNotFound), self._translated(key):
                        await self._client.abort_multipart_upload(
                            Bucket=self.bucket, Key=key, UploadId=upload["UploadId"]
                        )

    async def list(self, prefix: str = "") -> AsyncIterator[list[ObjectInfo]]:
        """Pages of up to 1 000; ends only when the store says that there is no more."""
        token: dict[str, str] = {}
        while True:
            with self._translated(""):
                page = await self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, **token)
            entries = page.get("Contents", [])
            yield [self._info(entry["Key"], entry, entry["Size"], None, None) for entry in entries]
            if not page.get("IsTruncated"):
                return
            if not page.get("NextContinuationToken"):
                raise aws.translated(ConnectionError("a truncated page without a token"), f"listing of {self.bucket}")
            token = {"ContinuationToken": page["NextContinuationToken"]}

    async def delete(self, key: str) -> None:
        with self._translated(key):
            await self._client.delete_object(Bucket=self.bucket, Key=key)

    async def check(self) -> None:
        with self._translated(""):
            await self._client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _exactly(info: ObjectInfo) -> dict[str, str]:
    """What makes a read fail unless it is of this version."""
    return {"VersionId": info.version_id} if info.version_id is not None else {"IfMatch": f'"{info.etag}"'}
