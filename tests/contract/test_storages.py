"""What every storage promises, kept by each of them: one suite, all implementations."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_asyncio
from botocore.exceptions import ClientError
from pydantic import SecretStr

from tests import parts
from watcher import aws
from watcher.errors import (
    AccessRefused,
    ObjectNotFound,
    ObjectSuperseded,
    PermanentError,
    TransientError,
    WatcherError,
)
from watcher.model.objects import ObjectInfo
from watcher.storage import cos, local, memory, s3
from watcher.storage.base import Storage

KEYS = [
    "plain.mp4",
    "deep/er/and deeper/a b.mp4",
    "a+b.mp4",
    "a%2Bb.mp4",
    "%20.mp4",
    "\u00e9.mp4",
    "e\u0301.mp4",
    "日本語/🎬.mp4",
    "q?x=1&y#z.mp4",
    "-leading-dash.mp4",
    "quote'\".mp4",
]


def bucket(address: str, *, versioned: bool = False) -> str:
    name = f"b-{uuid.uuid4().hex[:12]}-1250000000"
    client = boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    client.create_bucket(Bucket=name)
    if versioned:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest_asyncio.fixture(params=["memory", "memory-versioned", "local", "s3", "s3-versioned", "cos"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path, moto: str) -> AsyncIterator[Storage]:
    """Each implementation in turn, over an empty bucket."""
    made: Storage
    kind, _, versioned = request.param.partition("-")
    if kind == "memory":
        made = memory.MemoryStorage("m", memory.Options(versioned=bool(versioned)))
    elif kind == "local":
        (tmp_path / "root").mkdir()
        made = local.LocalStorage("l", local.Options(root=tmp_path / "root"))
    elif kind == "s3":
        name = bucket(moto, versioned=bool(versioned))
        options = s3.Options(endpoint_url=moto, access_key="k", secret_key="s", addressing="path")
        made = s3.S3Storage(name, options)
    else:
        options_ = cos.Options(region="us-east-1", endpoint_url=moto, secret_id="k", secret_key="s", addressing="path")
        made = cos.CosStorage(bucket(moto), options_)
    async with made:
        yield made


async def put(storage: Storage, tmp_path: Path, key: str, data: bytes) -> ObjectInfo:
    path = tmp_path / uuid.uuid4().hex
    path.write_bytes(data)
    return await storage.put(path, key, content_type="video/mp4", metadata={"watcher-lineage": "1"}, token="t")


async def get(storage: Storage, tmp_path: Path, info: ObjectInfo) -> bytes:
    path = tmp_path / uuid.uuid4().hex
    await storage.fetch(info, path)
    return path.read_bytes()


async def listed(storage: Storage, prefix: str = "") -> dict[str, ObjectInfo]:
    return {info.key: info async for page in storage.list(prefix) for info in page}


@pytest.mark.parametrize("key", KEYS)
async def test_what_is_put_comes_back(storage: Storage, tmp_path: Path, key: str) -> None:
    """Byte for byte, under exactly this key, the same by put, head and list."""
    info = await put(storage, tmp_path, key, b"hello")
    assert (info.storage, info.key, info.size) == (storage.name, key, 5)
    head = await storage.head(key)
    assert head.identity == info.identity
    assert await get(storage, tmp_path, head) == b"hello"
    await storage.verify(head)
    assert list(await listed(storage)) == [key]


async def test_a_listing_agrees_with_a_head(storage: Storage, tmp_path: Path) -> None:
    """Size, ETag and time are the same, so that one object has one identity (a listing knows no version id)."""
    await put(storage, tmp_path, "a/b.mp4", b"hello")
    head, entry = await storage.head("a/b.mp4"), (await listed(storage))["a/b.mp4"]
    assert (entry.size, entry.etag, entry.last_modified) == (head.size, head.etag, head.last_modified)


async def test_prefixes(storage: Storage, tmp_path: Path) -> None:
    """A prefix is text, not a directory."""
    for key in ("a/1", "a/2", "ab/3", "b/4"):
        await put(storage, tmp_path, key, b"x")
    assert sorted(await listed(storage, "a")) == ["a/1", "a/2", "ab/3"]
    assert sorted(await listed(storage, "a/")) == ["a/1", "a/2"]
    assert await listed(storage, "zzz") == {}


async def test_missing_objects(storage: Storage, tmp_path: Path) -> None:
    """Absent is its own error; deleting what is absent is none."""
    with pytest.raises(ObjectNotFound):
        await storage.head("nope.mp4")
    await storage.delete("nope.mp4")
    info = await put(storage, tmp_path, "a.mp4", b"x")
    await storage.delete("a.mp4")
    with pytest.raises(ObjectNotFound):
        await storage.head("a.mp4")
    if info.version_id is None:
        with pytest.raises((ObjectNotFound, ObjectSuperseded)):
            await get(storage, tmp_path, info)


async def test_overwriting_makes_another_version(storage: Storage, tmp_path: Path) -> None:
    """The old version is either still readable as it was, or refused: never silently the new bytes."""
    first = await put(storage, tmp_path, "a.mp4", b"one")
    await asyncio.sleep(0.01)
    second = await put(storage, tmp_path, "a.mp4", b"second")
    assert first.identity != second.identity
    assert await get(storage, tmp_path, second) == b"second"
    if first.version_id is not None:
        assert await get(storage, tmp_path, first) == b"one"
        assert (await storage.head("a.mp4", first.version_id)).identity == first.identity
    else:
        with pytest.raises(ObjectSuperseded):
            await get(storage, tmp_path, first)


async def test_large_objects_move_in_parts(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several parts each way, in order, with progress that adds up."""
    monkeypatch.setattr(s3, "PART", 5 * 1024 * 1024)
    data = bytes(range(256)) * (13 * 4096)
    info = await put(storage, tmp_path, "big.mp4", data)
    moved: list[int] = []
    path = tmp_path / "back"
    await storage.fetch(info, path, moved.append)
    assert path.read_bytes() == data
    assert sum(moved) == len(data)


async def test_empty_objects(storage: Storage, tmp_path: Path) -> None:
    """Zero bytes are an object too."""
    info = await put(storage, tmp_path, "empty.mp4", b"")
    assert info.size == 0
    assert await get(storage, tmp_path, info) == b""


async def test_before_is_told_the_version(storage: Storage, tmp_path: Path) -> None:
    """Whoever keeps the registry of outputs hears of the version that was written."""
    heard: list[ObjectInfo] = []

    async def before(info: ObjectInfo) -> None:
        heard.append(info)

    path = tmp_path / "x"
    path.write_bytes(b"x")
    info = await storage.put(path, "a.mp4", content_type="video/mp4", metadata={}, token="t", before=before)
    assert [item.identity for item in heard] == [info.identity]


async def test_discard_leaves_whole_objects_alone(storage: Storage, tmp_path: Path) -> None:
    """Cleaning up after an interrupted write touches nothing that is finished."""
    info = await put(storage, tmp_path, "a.mp4", b"x")
    await storage.discard("a.mp4", "t")
    await storage.discard("never.mp4", "t")
    assert (await storage.head("a.mp4")).identity == info.identity


async def test_check(storage: Storage) -> None:
    """A bucket that is there can be reached."""
    await storage.check()


# What only some of them can show.


async def test_local_keys_cannot_leave_the_root(tmp_path: Path) -> None:
    """Neither by dots nor through a link, for reading and for writing."""
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file.mp4").write_bytes(b"secret")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "root" / "file.mp4").symlink_to(tmp_path / "secret" / "file.mp4")
    storage = local.LocalStorage("l", local.Options(root=tmp_path / "root"))
    for key in (
        "../secret/file.mp4",
        "link/file.mp4",
        "a/../../secret/file.mp4",
        "",
        "a//b",
        "/etc/passwd",
        "file.mp4",
    ):
        with pytest.raises(PermanentError):
            await storage.head(key)
    for key in ("../new.mp4", "link/new.mp4"):
        with pytest.raises(PermanentError):
            await put(storage, tmp_path, key, b"x")
    assert await listed(storage) == {}
    assert sorted(path.name for path in (tmp_path / "secret").iterdir()) == ["file.mp4"]


async def test_local_writes_are_atomic(tmp_path: Path) -> None:
    """A failing write leaves the old object and no stray file."""
    (tmp_path / "root").mkdir()
    storage = local.LocalStorage("l", local.Options(root=tmp_path / "root"))
    await put(storage, tmp_path, "a.mp4", b"old")
    with pytest.raises(WatcherError):
        await storage.put(tmp_path / "none", "a.mp4", content_type="", metadata={}, token="t")

    async def refuse(_: ObjectInfo) -> None:
        raise RuntimeError("no")

    path = tmp_path / "x"
    path.write_bytes(b"new")
    with pytest.raises(RuntimeError):
        await storage.put(path, "a.mp4", content_type="", metadata={}, token="t", before=refuse)
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["a.mp4"]
    assert (tmp_path / "root" / "a.mp4").read_bytes() == b"old"


async def test_s3_errors_are_translated(moto: str, tmp_path: Path) -> None:
    """A missing bucket and a server that is away: words for a person, and the right kind of error."""
    options = s3.Options(endpoint_url=moto, access_key="k", secret_key="s", addressing="path")
    async with s3.S3Storage("no-such-bucket", options) as storage:
        with pytest.raises(PermanentError, match="the bucket does not exist"):
            await storage.check()
    away = options.model_copy(update={"endpoint_url": "http://127.0.0.1:1", "connect_timeout": 0.2})
    async with s3.S3Storage("b", away) as storage:
        with pytest.raises(WatcherError, match="bucket b"):
            await storage.check()
        assert tmp_path.exists()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "RequestThrottled", TransientError),  # of SQS, with the status of a refusal
        (403, "OverLimit", TransientError),
        (400, "ThrottlingException", TransientError),
        (409, "OperationAborted", TransientError),
        (503, "SlowDown", TransientError),
        (500, "InternalError", TransientError),
        (403, "AccessDenied", AccessRefused),
        (403, "", AccessRefused),
        (404, "NoSuchBucket", PermanentError),
        (400, "KMS.DisabledException", PermanentError),
    ],
)
def test_what_an_answer_means(status: int, code: str, kind: type[WatcherError]) -> None:
    """A service that has too much to do is asked again, whatever the status it says so with."""
    answer: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert type(aws.translated(ClientError(answer, "GetObject"), "x")) is kind


def test_cos_end_points() -> None:
    """Region end points, virtual-hosted addressing, and bucket names with their APPID."""
    options = cos.Options(region="ap-guangzhou", secret_id="k", secret_key="s")
    made = cos.as_s3("media-1250000000", options)
    assert made.endpoint_url == "https://cos.ap-guangzhou.myqcloud.com"
    assert (made.addressing, made.bucket) == ("virtual", "media-1250000000")
    with pytest.raises(ValueError, match="ends with the APPID"):
        cos.CosStorage("media", options)


async def test_cos_addresses_the_bucket_in_the_host_name() -> None:
    """What the client would send: the bucket as a host name below the region's."""
    options = cos.Options(region="ap-guangzhou", secret_id="AKID", secret_key="s")
    async with cos.CosStorage("media-1250000000", options) as storage:
        url = await storage.client.generate_presigned_url(
            "get_object", Params={"Bucket": "media-1250000000", "Key": "a b.mp4"}
        )
    assert url.startswith("https://media-1250000000.cos.ap-guangzhou.myqcloud.com/a%20b.mp4?")


async def test_wrong_key_is_refused(tmp_path: Path) -> None:
    """A server that checks signatures: a wrong secret is AccessRefused, with what to look at."""
    program = Path(sys.executable).parent / "rclone"
    (tmp_path / "data" / "b").mkdir(parents=True)
    port = parts.free_port()
    address = f"127.0.0.1:{port}"
    with parts.child(
        [str(program), "serve", "s3", str(tmp_path / "data"), "--addr", address, "--auth-key", "KEY,SECRET"]
    ):
        parts.wait_for(lambda: parts.listens(port), what="rclone to listen")
        options = s3.Options(endpoint_url=f"http://{address}", access_key="KEY", secret_key="SECRET", addressing="path")
        async with s3.S3Storage("b", options) as storage:
            info = await put(storage, tmp_path, "a b.mp4", b"hello")
            assert await get(storage, tmp_path, info) == b"hello"
        wrong = options.model_copy(update={"secret_key": SecretStr("nope")})
        async with s3.S3Storage("b", wrong) as storage:
            with pytest.raises(AccessRefused, match="check the key pair"):
                await storage.check()


async def test_a_part_of_a_version(storage: Storage, tmp_path: Path) -> None:
    """A range of exactly the version that was seen; another version by then is noticed, or the old one is read."""
    info = await put(storage, tmp_path, "a.mp4", b"0123456789")
    assert await storage.read(info, 2, 3) == b"234"
    assert await storage.read(info, 8, 2) == b"89"
    with contextlib.suppress(ObjectSuperseded):
        await put(storage, tmp_path, "a.mp4", b"other bytes")
        assert await storage.read(info, 2, 3) == b"234"
    with pytest.raises(ObjectNotFound):
        await storage.read(dataclasses.replace(info, key="none.mp4"), 0, 1)
