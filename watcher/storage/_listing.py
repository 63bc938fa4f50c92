"""Pages of S3 listings, read without botocore, whose parser takes twenty times as long and blocks the event loop.

The format is that of ListObjectsV2 (Amazon S3 API Reference); what a page lacks is said, never guessed.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from watcher.errors import TransientError
from watcher.model.objects import ObjectInfo
from watcher.storage.base import Page

ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE", "ARCHIVE", "DEEP_ARCHIVE_IA", "MAZ_ARCHIVE"})
"""Storage classes whose bytes can't be read before they are restored (AWS, and ARCHIVE of COS)."""


SLICE = 16 * 1024
"""Bytes that are parsed in one go: nothing else of this process runs meanwhile."""
_reader = ThreadPoolExecutor(1, thread_name_prefix="listing")


async def parsed(body: bytes, storage: str, bucket: str, date: str | None) -> tuple[Page, str | None]:
    """As :func:`parse`, beside the event loop; one page at a time, for more would only wait for each other."""
    return await asyncio.get_running_loop().run_in_executor(_reader, parse, body, storage, bucket, date)


def parse(body: bytes, storage: str, bucket: str, date: str | None = None) -> tuple[Page, str | None]:
    """A page, and the token of the next one (None: it was the last). Raises TransientError when it is no listing.

    ``date`` is the answer's Date header.
    """
    parser = ElementTree.XMLParser()  # noqa: S314
    try:
        for start in range(0, len(body), SLICE):
            parser.feed(body[start : start + SLICE])
        root = parser.close()
    except ElementTree.ParseError as error:
        raise TransientError(f"listing of {bucket}: the page is no XML ({error})") from None
    space = root.tag.removesuffix("ListBucketResult")
    if space == root.tag:
        raise TransientError(f"listing of {bucket}: the page is a {root.tag[:50]!r}")
    encoded = root.findtext(f"{space}EncodingType") == "url"
    names = {f"{space}{name}": name for name in ("Key", "ETag", "Size", "LastModified", "StorageClass")}
    infos: list[ObjectInfo] = []
    last = ""
    for entry in root.iterfind(f"{space}Contents"):
        found = {names[child.tag]: child.text or "" for child in entry if child.tag in names}
        try:
            key = found["Key"]
            if encoded and ("%" in key or "+" in key):
                key = unquote_plus(key, errors="surrogateescape")
            infos.append(
                ObjectInfo(
                    storage,
                    key,
                    int(found["Size"]),
                    found.get("ETag", "").strip('"'),
                    int(datetime.fromisoformat(found["LastModified"]).timestamp()),
                    archived=found.get("StorageClass", "") in ARCHIVED,
                )
            )
        except (KeyError, ValueError) as error:
            raise TransientError(f"listing of {bucket}: an entry without a usable {error}") from None
        last = key
    token = None
    if root.findtext(f"{space}IsTruncated", "false").strip().lower() == "true":
        token = root.findtext(f"{space}NextContinuationToken")
        if not token:
            raise TransientError(f"listing of {bucket}: a truncated page without a token")
    return Page(infos, last, _seconds(date)), token


def _seconds(date: str | None) -> int | None:
    try:
        return int(parsedate_to_datetime(date).timestamp()) if date else None
    except (TypeError, ValueError):
        return None
