"""Objects that a sub-task names besides its source: where results go, and further files that are read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from watcher.model.base import Value


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


class MediaInputInfo(Value):
    """A file that is read: an object of one of the storages in the settings."""

    type: Literal["COS", "AWS-S3"]
    cos_input_info: CosInputInfo | None = None
    s3_input_info: S3InputInfo | None = None

    @model_validator(mode="after")
    def _fits_its_type(self) -> MediaInputInfo:
        if self.type == "COS" and (self.cos_input_info is None or self.s3_input_info is not None):
            raise ValueError("CosInputInfo, and no other, is required when Type is COS")
        if self.type == "AWS-S3" and (self.s3_input_info is None or self.cos_input_info is not None):
            raise ValueError("S3InputInfo, and no other, is required when Type is AWS-S3")
        return self

    @property
    def place(self) -> tuple[str, str]:
        """The storage's name and the object's key."""
        if self.cos_input_info is not None:
            return self.cos_input_info.bucket, self.cos_input_info.object.removeprefix("/")
        assert self.s3_input_info is not None  # noqa: S101  the validator saw to it
        return self.s3_input_info.s3_bucket, self.s3_input_info.s3_object.removeprefix("/")


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
