"""Objects that a sub-task names besides its source: where results go, and further files that are read."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from watcher.model.base import Value
from watcher.model.objects import URL


class CosOutputStorage(Value):
    """A COS bucket for results; a missing half is inherited from the level above."""

    bucket: str | None = None
    region: str | None = None


class S3OutputStorage(Value):
    """An S3 bucket for results. Its key pair belongs in the settings, under ``storages``."""

    s3_bucket: str
    s3_region: str | None = None


class OutputStorage(Value):
    """Where results go; contract workflows.md, section 3."""

    type: Literal["COS", "AWS-S3"]
    cos_output_storage: CosOutputStorage | None = None
    s3_output_storage: S3OutputStorage | None = None

    @model_validator(mode="after")
    def _fits_its_type(self) -> OutputStorage:
        if self.type == "AWS-S3" and self.s3_output_storage is None:
            raise ValueError("S3OutputStorage is required when Type is AWS-S3")
        if self.type == "COS" and self.s3_output_storage is not None:
            raise ValueError("S3OutputStorage does not go with Type COS")
        if self.type == "AWS-S3" and self.cos_output_storage is not None:
            raise ValueError("CosOutputStorage does not go with Type AWS-S3")
        return self

    @property
    def bucket(self) -> str | None:
        """The bucket named, or None when it is inherited."""
        if self.s3_output_storage is not None:
            return self.s3_output_storage.s3_bucket
        return self.cos_output_storage.bucket if self.cos_output_storage else None


def _object_path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"{value!r} must start with '/', e.g. /logos/logo.png")
    return value


ObjectPath = Annotated[str, AfterValidator(_object_path)]


class CosInputInfo(Value):
    """An object of a COS bucket; contract tasks.md, section 2."""

    bucket: str = Field(min_length=1)
    region: str = ""
    object: ObjectPath


class S3InputInfo(Value):
    """An object of an S3 bucket."""

    s3_bucket: str = Field(min_length=1)
    s3_region: str = ""
    s3_object: ObjectPath


def _http(value: str) -> str:
    parts = urlsplit(value)  # raises ValueError where the brackets of an address do not match
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{value[:80]!r} must be an http:// or https:// address with a host")
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in value):
        raise ValueError(f"{value[:80]!r} holds a space or a control character; write it as %20 and the like")
    return value


HttpAddress = Annotated[str, Field(max_length=8192), AfterValidator(_http)]


class UrlInputInfo(Value):
    """A file that is fetched from a web server."""

    url: HttpAddress


class MediaInputInfo(Value):
    """A file that is read: an object of one of the storages in the settings, or what an address gives."""

    type: Literal["COS", "AWS-S3", "URL"]
    cos_input_info: CosInputInfo | None = None
    s3_input_info: S3InputInfo | None = None
    url_input_info: UrlInputInfo | None = None

    @model_validator(mode="after")
    def _fits_its_type(self) -> MediaInputInfo:
        given = {"COS": self.cos_input_info, "AWS-S3": self.s3_input_info, "URL": self.url_input_info}
        member = {"COS": "CosInputInfo", "AWS-S3": "S3InputInfo", "URL": "UrlInputInfo"}[self.type]
        if given.pop(self.type) is None or any(other is not None for other in given.values()):
            raise ValueError(f"{member}, and no other, is required when Type is {self.type}")
        return self

    @property
    def place(self) -> tuple[str, str]:
        """The storage's name and the object's key; for an address :data:`URL` and the address."""
        if self.cos_input_info is not None:
            return self.cos_input_info.bucket, self.cos_input_info.object.removeprefix("/")
        if self.s3_input_info is not None:
            return self.s3_input_info.s3_bucket, self.s3_input_info.s3_object.removeprefix("/")
        assert self.url_input_info is not None  # noqa: S101  the validator saw to it
        return URL, self.url_input_info.url

    @property
    def region(self) -> str:
        """The region that is named; empty where there is none."""
        if self.cos_input_info is not None:
            return self.cos_input_info.region
        return self.s3_input_info.s3_region if self.s3_input_info is not None else ""


def _relative(value: str) -> str:
    if value.startswith("/"):
        raise ValueError("must be a relative path, without a leading '/'")
    return value


RelativePath = Annotated[str, AfterValidator(_relative)]


class NumberFormat(Value):
    """How ``{number}`` is written; contract pipelines.md, section 1.4."""

    initial_value: int = Field(default=0, ge=0)
    increment: int = Field(default=1, ge=0)
    min_length: int = Field(default=1, ge=0, le=64)
    place_holder: str = Field(default="0", max_length=1)

    def render(self, index: int) -> str:
        """The text of the ``index``-th number, counted from 0."""
        text = str(self.initial_value + index * self.increment)
        return text.rjust(self.min_length, self.place_holder) if self.place_holder else text
