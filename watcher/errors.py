"""Every error the project raises on purpose.

The class tells the caller what to do::

    WatcherError
    ├── ConfigurationError       a person has to change a file; carries all mistakes at once
    ├── TransientError           try again later, unchanged
    └── PermanentError           trying again changes nothing
        ├── ObjectNotFound       the object is not (or no longer) there
        ├── ObjectSuperseded     the object is there in another version than the one asked for
        ├── AccessRefused        credentials or permissions
        └── MediaError           the media or the request about it is at fault; carries an ErrCodeExt

Vendor errors (botocore, aiomqtt, OSError ...) are translated where they are met.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


class WatcherError(Exception):
    """Base of all errors raised on purpose. Its text is a sentence for a person."""


Kind = Literal["unknown", "missing", "type", "value"]
"""A field that does not exist, one that is not there, one of a wrong type, and one whose value can't be."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the configuration, or in a request: where it is and what to do about it."""

    path: str
    message: str
    warning: bool = False
    kind: Kind = "value"

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigurationError(WatcherError):
    """The configuration has mistakes; ``problems`` holds all of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class TransientError(WatcherError):
    """Something outside is unavailable for now."""


class PermanentError(WatcherError):
    """Trying again would change nothing."""


class ObjectNotFound(PermanentError):  # noqa: N818  reads as the sentence it is
    """The object does not exist."""


class ObjectSuperseded(PermanentError):  # noqa: N818
    """The object was overwritten or removed since it was seen."""


class AccessRefused(PermanentError):  # noqa: N818
    """The storage or service refused the credentials."""


class MediaError(PermanentError):
    """A sub-task failed for a reason the task event states as ``ErrCodeExt``.

    The codes are those of the contract (tasks.md, section 7): ``InvalidInput``,
    ``InvalidInput.InvalidTimeOffset``, ``InvalidInput.DefinitionNotExist``, ``SourceFileError``,
    ``SourceFileError.NoVideoMedia``, ``SourceFileError.NoVideoResolution``, ``InternalError``.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)

    def __reduce__(self) -> tuple[type[MediaError], tuple[str, str]]:
        return MediaError, (self.code, self.message)
