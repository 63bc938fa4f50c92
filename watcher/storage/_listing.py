"""Pages of S3 listings, read without botocore, whose parser takes twenty times as long and blocks the event loop.

The format is that of ListObjectsV2 (Amazon S3 API Reference); what a page lacks is said, never guessed.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from watcher.errors import TransientError
from watcher.model.objects import ObjectInfo
from watcher.storage.base import Page

ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE", "ARCHIVE", "DEEP_ARCHIVE_IA", "MAZ_ARCHIVE"})
"""Storage classes whose bytes can't be read before they are restored (AWS, and ARCHIVE of COS)."""


SLICE = 16 * 1024
"""Bytes that are parsed in one go: nothing else of this process runs meanwhile."""
_END = b"</Contents>"
_reader = ThreadPoolExecutor(1, thread_name_prefix="listing")


async def parsed(
    body: bytes, storage: str, bucket: str, date: str | None, expected: tuple[bytes, str] | None = None
) -> tuple[Page, str | None]:
    """As :func:`parse`, beside the event loop; one page at a time, for more would only wait for each other."""
    return await asyncio.get_running_loop().run_in_executor(_reader, parse, body, storage, bucket, date, expected)


def parse(
    body: bytes, storage: str, bucket: str, date: str | None = None, expected: tuple[bytes, str] | None = None
) -> tuple[Page, str | None]:
    """A page, and the token of the next one (None: it was the last). Raises TransientError when it is no listing.

    ``date`` is the answer's Date header. The entries of a page whose text has the digest ``expected`` are not read;
    its last key is the other one of the two.
    """
    first, last = body.find(b"<Contents>"), body.rfind(_END) + len(_END)
    entries_text = memoryview(body)[first:last] if 0 <= first < last else None
    digest = None if entries_text is None else hashlib.blake2b(entries_text, digest_size=16).digest()
    if expected is not None and digest is not None and digest == expected[0]:
        _, token = _head(_tree(body[:first] + body[last:], bucket), bucket)
        return Page([], expected[1], _seconds(date), digest, same=True), token
    head, entries = _plain(body)
    root = _tree(body if entries is None else head, bucket)
    space, token = _head(root, bucket)
    encoded = root.findtext(f"{space}EncodingType") == "url"
    try:
        found = entries if entries is not None else _from_tree(root, space)
        infos = [_info(storage, encoded, *entry) for entry in found]
    except (KeyError, ValueError) as error:
        raise TransientError(f"listing of {bucket}: an entry without a usable {error}") from None
    return Page(infos, infos[-1].key if infos else "", _seconds(date), digest), token


def _head(root: ElementTree.Element, bucket: str) -> tuple[str, str | None]:
    """The namespace of a listing's elements, and the token of the next page."""
    space = root.tag.removesuffix("ListBucketResult")
    if space == root.tag:
        raise TransientError(f"listing of {bucket}: the page is a {root.tag[:50]!r}")
    token = None
    if root.findtext(f"{space}IsTruncated", "false").strip().lower() == "true":
        token = root.findtext(f"{space}NextContinuationToken")
        if not token:
            raise TransientError(f"listing of {bucket}: a truncated page without a token")
    return space, token


Entry = tuple[str, str, str, str, str]
"""Key, LastModified, ETag, Size and StorageClass, as they are written."""
_ENTRY = re.compile(
    rb"<Contents>\s*<Key>([^<]*)</Key>\s*<LastModified>([^<]*)</LastModified>\s*<ETag>([^<]*)</ETag>"
    rb"\s*(?:<Checksum\w+>[^<]*</Checksum\w+>\s*)*<Size>([0-9]+)</Size>\s*"
    rb"(?:<Owner>(?:(?!</Owner>).)*</Owner>\s*)?(?:<StorageClass>([^<]*)</StorageClass>\s*)?</Contents>"
)


def _plain(body: bytes) -> tuple[bytes, list[Entry] | None]:
    """The entries of a page whose elements come as AWS writes them, and the page without them; else None.

    Nearly all stores do, and it takes a tenth of the time of an XML parser. A page with a declaration, a comment or
    CDATA, or with a single entry that looks different, is left to the parser as a whole.
    """
    if b"<!" in body:
        return body, None
    found = _ENTRY.findall(body)
    if not found or len(found) != body.count(b"<Contents>") or len(found) != body.count(b"<Key>"):
        return body, None
    first, last = body.index(b"<Contents>"), body.rindex(b"</Contents>") + len(b"</Contents>")
    try:
        entries = [
            (_unescaped(key), modified.decode(), _unescaped(etag), size.decode(), kind.decode())
            for key, modified, etag, size, kind in found
        ]
    except (UnicodeDecodeError, ElementTree.ParseError):
        return body, None
    # What lies between the entries, if anything does, is no part of what is read here.
    return body[:first] + body[last:], entries


def _unescaped(field: bytes) -> str:
    text = field.decode()
    if "&" in text:
        text = text.replace("&quot;", '"')  # around each ETag
        if "&" in text:
            return ElementTree.fromstring(f"<t>{text}</t>").text or ""  # noqa: S314
    return text


def _tree(body: bytes, bucket: str) -> ElementTree.Element:
    parser = ElementTree.XMLParser()  # noqa: S314
    try:
        for start in range(0, len(body), SLICE):
            parser.feed(body[start : start + SLICE])
        root: ElementTree.Element = parser.close()
    except ElementTree.ParseError as error:
        raise TransientError(f"listing of {bucket}: the page is no XML ({error})") from None
    return root


def _from_tree(root: ElementTree.Element, space: str) -> Iterator[Entry]:
    for entry in root.iterfind(f"{space}Contents"):
        found = {child.tag.removeprefix(space): child.text or "" for child in entry}
        yield (
            found["Key"], found["LastModified"], found.get("ETag", ""), found["Size"], found.get("StorageClass", "")
        )  # fmt: skip


def _info(storage: str, encoded: bool, key: str, modified: str, etag: str, size: str, kind: str) -> ObjectInfo:
    if encoded and ("%" in key or "+" in key):
        key = unquote_plus(key, errors="surrogateescape")
    return ObjectInfo(storage, key, int(size), etag.strip('"'), _moment(modified), archived=kind in ARCHIVED)


@lru_cache(maxsize=4096)
def _moment(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def _seconds(date: str | None) -> int | None:
    try:
        return int(parsedate_to_datetime(date).timestamp()) if date else None
    except (TypeError, ValueError):
        return None
