"""A bucket in Tencent COS, over its S3-compatible API.

The name of the storage is the full bucket name with the APPID (``media-1250000000``), as triggers write it.
"""

from __future__ import annotations

import re

from pydantic import Field, SecretStr, model_validator

from watcher import plugin
from watcher.storage import s3

_BUCKET = re.compile(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?-\d{5,20}\Z")


class Options(plugin.Options):
    """A bucket of Tencent COS."""

    region: str
    """The long region code, e.g. ``ap-guangzhou``."""
    secret_id: str
    """SecretId of a key pair that may read (and, for outputs, write) the bucket."""
    secret_key: SecretStr
    """SecretKey; write it as ``${credential:name}`` or ``${env:NAME}``."""
    token: SecretStr | None = None
    """Session token of temporary credentials."""
    bucket: str | None = None
    """The bucket with its APPID, when it is not the name of this storage."""
    endpoint_url: str | None = None
    """The address, when it is not ``https://cos.<region>.myqcloud.com`` (internal or accelerated end points)."""
    addressing: str = Field(default="virtual", pattern="^(path|virtual)$")
    """COS wants the bucket in the host name; another address may want it in the path."""

    @model_validator(mode="after")
    def _has_an_appid(self) -> Options:
        if self.bucket is not None and not _BUCKET.match(self.bucket):
            raise ValueError(
                f"{self.bucket!r} is not a COS bucket name: it ends with the APPID, as in media-1250000000"
            )
        return self


def as_s3(name: str, options: Options) -> s3.Options:
    """The same bucket in the terms of S3."""
    return s3.Options(
        region=options.region,
        endpoint_url=options.endpoint_url or f"https://cos.{options.region}.myqcloud.com",
        access_key=options.secret_id,
        secret_key=options.secret_key,
        session_token=options.token,
        bucket=options.bucket or name,
        addressing=options.addressing,
    )


class CosStorage(s3.S3Storage):
    """See the module."""

    def __init__(self, name: str, options: Options) -> None:
        if not _BUCKET.match(options.bucket or name):
            raise ValueError(
                f"{options.bucket or name!r} is not a COS bucket name: it ends with the APPID, as in media-1250000000"
            )
        super().__init__(name, as_s3(name, options))
