"""Objects, their versions, and the events that say that one appeared.

An object version has one identity for all sources, so that a notification, a listing and a folder scan
that speak of the same bytes write the same ledger row: ``v:<versionId>`` in a versioned bucket,
otherwise ``e:`` + ETag + size + LastModified (whole seconds). Event times are never part of it.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote, urlsplit

MARKER = "watcher-lineage"
"""Metadata key on every output: the ids of the workflows that led to it, oldest first, joined by commas."""

URL = "url:"
"""The storage of what is fetched from web servers; its keys are addresses. No storage of the settings is called so."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One version of one object, as a HEAD, a listing or a stat showed it.

    ``size`` is in bytes (−1 where a web server did not say it), ``last_modified`` in whole seconds since 1970
    (UTC); ``etag`` is opaque. ``version_id`` is None in an unversioned bucket. ``metadata`` is None where it was
    not asked for (a listing has none).
    """

    storage: str
    key: str
    size: int
    etag: str
    last_modified: int
    version_id: str | None = None
    metadata: Mapping[str, str] | None = field(default=None, compare=False)
    archived: bool = field(default=False, compare=False)

    @classmethod
    def named(cls, storage: str, key: str) -> ObjectInfo:
        """An object of which only the name is known; whoever needs it asks the storage for its version."""
        return cls(storage, key, size=-1, etag="", last_modified=0)

    @property
    def identity(self) -> str:
        """What tells this version from every other version of the same key."""
        if self.version_id is not None:
            return f"v:{self.version_id}"
        return f"e:{self.etag}:{self.size}:{self.last_modified}"

    @property
    def uri(self) -> str:
        """``storage/key``, the way a person writes it; an address without its query, which may hold a secret."""
        return self.key.partition("?")[0] if self.storage == URL else f"{self.storage}/{self.key}"

    @property
    def path(self) -> str:
        """The key, or the path of an address: what names and directories of outputs are made from."""
        if self.storage != URL:
            return self.key
        return unquote(urlsplit(self.key).path).lstrip("/") or "index"

    @property
    def resolved(self) -> bool:
        """Whether the version is known, not only the name."""
        return self.etag != "" or self.version_id is not None


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """ "This object appeared, in this version."

    ``info`` is there when the source saw the object itself (a listing, a stat). A notification only
    knows some of it and leaves ``info`` None; the dispatcher then asks the storage. ``existing`` marks
    objects that were there when the source looked for the first time; ``notified`` those that it was told of
    while it did, so that they count as new all the same. ``mark`` tells one change of a key from another, see
    :func:`sequence_mark`.
    """

    storage: str
    key: str
    source: str
    info: ObjectInfo | None = None
    version_id: str | None = None
    existing: bool = False
    notified: bool = False
    mark: bytes | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a listing: keys that begin with ``prefix``, behind ``after``, up to ``last`` (None: the end)."""

    storage: str
    prefix: str = ""
    after: str = ""
    last: str | None = None


Expected = Callable[[str], tuple[bytes, str] | None]
"""The digest, and the last key, of the page behind a key, as it was an earlier time; None where that is not known."""


def nothing_expected(after: str) -> None:
    """Every page is read."""


@dataclass(frozen=True, slots=True)
class Strange:
    """A message of a source that nobody could read: it is kept for a person, and never dropped."""

    source: str
    reason: str
    body: bytes


def digest(*fields: str) -> bytes:
    """16 bytes that stand for the fields; length-prefixed, so ``("a", "bc")`` differs from ``("ab", "c")``."""
    state = hashlib.blake2b(digest_size=16)
    for item in fields:
        data = item.encode("utf-8", "surrogateescape")
        state.update(len(data).to_bytes(4, "big"))
        state.update(data)
    return state.digest()


def version_digest(info: ObjectInfo) -> bytes:
    """What stands for one version of one object, in the registry of outputs."""
    return digest(info.storage, info.key, info.identity)


def place_of(storage: str, key: str) -> bytes:
    """Where the ledger keeps an object: the rows of a storage lie together, in the order in which S3 lists keys."""
    return storage_prefix(storage) + key_bytes(key)


def key_bytes(key: str) -> bytes:
    """A key as it goes over the wire; as such it sorts as S3 lists."""
    return key.encode("utf-8", "surrogateescape")


def key_text(key: bytes) -> str:
    """The inverse of :func:`key_bytes`."""
    return key.decode("utf-8", "surrogateescape")


@lru_cache(maxsize=4096)
def storage_prefix(storage: str) -> bytes:
    """Six bytes that stand for a storage; they have a successor of six bytes."""
    found = hashlib.blake2b(storage.encode(), digest_size=6).digest()
    return bytes((found[0] & 0x7F,)) + found[1:]


def listed_identity(etag: bytes, size: int, last_modified: int) -> bytes:
    """Eight bytes that tell a version from the others of its key, by what a listing shows of it."""
    return hashlib.blake2b(b"e:%b:%d:%d" % (etag, size, last_modified), digest_size=8).digest()


def _by_listing(info: ObjectInfo) -> bytes:
    return listed_identity(key_bytes(info.etag), info.size, info.last_modified)


def version_of(info: ObjectInfo) -> bytes:
    """The digest of a version's identity, within its key."""
    return _by_listing(info) if info.version_id is None else short_digest(info.identity)


def listed_of(info: ObjectInfo) -> bytes | None:
    """The digest by which a listing shows a version that has an id; listings know no ids."""
    return None if info.version_id is None else _by_listing(info)


def short_digest(identity: str) -> bytes:
    """Eight bytes: enough to tell the versions of one key apart."""
    return hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=8).digest()


def sequence_mark(sequencer: str) -> bytes | None:
    """The mark of a change that has a place in a sequence: those of one key compare as bytes. None if it is none.

    Sequencers are hexadecimal and of different lengths; the shorter one is padded with zeros on the right (Amazon S3
    User Guide, "Event message structure").
    """
    if not sequencer or len(sequencer) > LONGEST_SEQUENCER or not set(sequencer) <= _HEX:
        return None
    text = sequencer.lower().rstrip("0")
    return SEQUENCED + bytes.fromhex(text + "0" * (len(text) % 2))


def other_mark(*fields: str) -> bytes:
    """The mark of a change that has no place in a sequence: it only tells whether a message came before."""
    return b"h" + short_digest("\0".join(fields))


SEQUENCED = b"s"
LONGEST_SEQUENCER = 64
_HEX = frozenset("0123456789abcdefABCDEF")


def key_digest(storage: str, key: str) -> bytes:
    """The primary key of an object in whatever version, for the registry of outputs."""
    return digest(storage, key)


def file_version(storage: str, key: str, status: os.stat_result) -> ObjectInfo:
    """The version of a file in a directory: its modification time in nanoseconds, and its size.

    The inode is left out: on network and FUSE file systems it may change at each mount, which would make
    every file new.
    """
    return ObjectInfo(
        storage=storage,
        key=key,
        size=status.st_size,
        etag=f"{status.st_mtime_ns:x}",
        last_modified=status.st_mtime_ns // 1_000_000_000,
        metadata={},
    )


def directory_of(key: str) -> str:
    """The directory of a key as the contract writes it: ``a/b/c.mp4`` is in ``/a/b/``."""
    head = posixpath.dirname(key)
    return f"/{head}/" if head else "/"


def parse_lineage(text: str | None) -> tuple[int, ...]:
    """The workflow ids in a marker; what is not a number is left out."""
    return tuple(int(part) for part in (text or "").split(",") if part.strip().isdecimal())


def format_lineage(lineage: tuple[int, ...]) -> str:
    """The inverse of :func:`parse_lineage`."""
    return ",".join(str(workflow_id) for workflow_id in lineage)
