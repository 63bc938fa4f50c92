"""Pages of S3 listings, read without botocore, whose parser takes twenty times as long and blocks the event loop.

The format is that of ListObjectsV2 (Amazon S3 API Reference); what a page lacks is said, never guessed.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import cast
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

from watcher.errors import TransientError
from watcher.model.listed import UNTOLD, Listed
from watcher.model.objects import ObjectInfo, key_text, listed_identity
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
        return Page(Listed(), expected[1], _seconds(date), digest, same=True), token
    head, entries = _plain(body)
    root = _tree(body if entries is None else head, bucket)
    space, token = _head(root, bucket)
    encoded = root.findtext(f"{space}EncodingType") == "url"
    try:
        infos = _listed(storage, encoded, entries if entries is not None else _from_tree(root, space))
    except (KeyError, ValueError) as error:
        raise TransientError(f"listing of {bucket}: an entry without a usable {error}") from None
    return Page(infos, key_text(infos.keys[-1]) if infos else "", _seconds(date), digest), token


_TOKEN = re.compile(rb"<NextContinuationToken>([^<&]+)</NextContinuationToken>")


def glimpse(body: bytes) -> tuple[str | None, bytes]:
    """What looks like the token of the next page, and like the last key: for who wants to ask before the page is read.

    It may be wrong, and it may be None although there is another page; only :func:`parse` knows.
    """
    first, end = body.find(b"<Contents>"), body.rfind(_END)
    token = _TOKEN.search(body, 0, max(first, 0)) or _TOKEN.search(body, max(end, 0))
    place = body.rfind(b"<Key>", 0, max(end, 0)) + len(b"<Key>")
    last = body[place : body.find(b"<", place)] if end > 0 else b""
    if b"<EncodingType>url<" in body[: max(first, 0)] or b"<EncodingType>url<" in body[max(end, 0) :]:
        last = unquote_to_bytes(last.replace(b"+", b" "))
    return (token[1].decode("utf-8", "replace") if token is not None else None), last


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


Column = Sequence[bytes]
Entries = tuple[Column, Column, Column, Column, Column]
"""The columns Key, LastModified, ETag, Size and StorageClass, as they are meant, but for the encoding of keys."""
NOTHING: Entries = ((), (), (), (), ())
_ENTRY = re.compile(
    rb"<Contents>\s*<Key>([^<]*)</Key>\s*<LastModified>([^<]*)</LastModified>\s*<ETag>([^<]*)</ETag>"
    rb"\s*(?:<Checksum\w+>[^<]*</Checksum\w+>\s*)*<Size>([0-9]+)</Size>\s*"
    rb"(?:<Owner>(?:(?!</Owner>).)*</Owner>\s*)?(?:<StorageClass>([^<]*)</StorageClass>\s*)?</Contents>"
)


def _plain(body: bytes) -> tuple[bytes, Entries | None]:
    """The entries of a page whose elements come as AWS writes them, and the page without them; else None.

    Nearly all stores do, and it takes a tenth of the time of an XML parser. A page with a declaration, a comment or
    CDATA, or with a single entry that looks different, is left to the parser as a whole.
    """
    if b"<!" in body or b"\0" in body:
        return body, None
    found = _ENTRY.findall(body)
    if not found or len(found) != body.count(b"<Contents>") or len(found) != body.count(b"<Key>"):
        return body, None
    first, last = body.index(b"<Contents>"), body.rindex(b"</Contents>") + len(b"</Contents>")
    keys, modified, etags, sizes, kinds = zip(*found, strict=True)
    try:
        entries = _unescaped(keys), modified, _unescaped(etags), sizes, kinds
    except (UnicodeDecodeError, ElementTree.ParseError):
        return body, None
    # What lies between the entries, if anything does, is no part of what is read here.
    return body[:first] + body[last:], entries


def _unescaped(fields: Column) -> Column:
    """As XML means them. All at once: most pages have no other entity than the quotation marks of ETags."""
    text = b"\0".join(fields)
    text.decode()
    if b"&" not in text:
        return fields
    fields = text.replace(b"&quot;", b'"').split(b"\0")
    if b"&" in text.replace(b"&quot;", b""):
        return [_element(field) if b"&" in field else field for field in fields]
    return fields


def _element(text: bytes) -> bytes:
    return (ElementTree.fromstring(b"<t>%b</t>" % text).text or "").encode()  # noqa: S314


def _tree(body: bytes, bucket: str) -> ElementTree.Element:
    parser = ElementTree.XMLParser()  # noqa: S314
    try:
        for start in range(0, len(body), SLICE):
            parser.feed(body[start : start + SLICE])
        root: ElementTree.Element = parser.close()
    except ElementTree.ParseError as error:
        raise TransientError(f"listing of {bucket}: the page is no XML ({error})") from None
    return root


def _from_tree(root: ElementTree.Element, space: str) -> Entries:
    entries: list[tuple[bytes, ...]] = []
    for entry in root.iterfind(f"{space}Contents"):
        found = {child.tag.removeprefix(space): (child.text or "").encode() for child in entry}
        entries.append(
            (found["Key"], found["LastModified"], found.get("ETag", b""), found["Size"], found.get("StorageClass", b""))
        )
    return cast("Entries", tuple(zip(*entries, strict=True))) if entries else NOTHING


def _listed(storage: str, encoded: bool, entries: Entries) -> Listed:
    keys, times, etags, lengths, kinds = entries
    if encoded:
        keys = [unquote_to_bytes(key.replace(b"+", b" ")) if b"%" in key or b"+" in key else key for key in keys]
    etags = [etag.strip(b'"') for etag in etags]
    sizes = list(map(int, lengths))
    modified = list(map(_moment, times))

    def info(place: int) -> ObjectInfo:
        key, etag, archived = key_text(keys[place]), etags[place].decode(), kinds[place].decode() in ARCHIVED
        return ObjectInfo(storage, key, sizes[place], etag, modified[place], archived=archived)

    versions = [
        listed_identity(etag, size, moment) if etag else UNTOLD
        for etag, size, moment in zip(etags, sizes, modified, strict=True)
    ]
    return Listed(keys, versions, modified, info)


@lru_cache(maxsize=4096)
def _moment(text: bytes) -> int:
    return int(datetime.fromisoformat(text.decode()).timestamp())


def _seconds(date: str | None) -> int | None:
    try:
        return int(parsedate_to_datetime(date).timestamp()) if date else None
    except (TypeError, ValueError):
        return None
