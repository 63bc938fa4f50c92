"""A directory as a bucket.

The version of a file is its modification time (in nanoseconds) and its size. Files are replaced atomically:
written under a hidden name beside the target, flushed to disk, then renamed. Symbolic links are not followed,
so nothing outside the directory can be read or written through a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import stat as stats
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from watcher import log, plugin
from watcher.errors import AccessRefused, ObjectNotFound, ObjectSuperseded, PermanentError, TransientError
from watcher.model.objects import ObjectInfo, digest, file_version
from watcher.storage.base import Progress, Storage

_log = log.get("local")

PAGE = 1000
PART_SUFFIX = ".watcher-part"
SAID = 100
"""Directories that can't be read of which each is told."""


class Options(plugin.Options):
    """A directory on this machine (or mounted on it)."""

    root: Path
    """The directory. Keys are paths below it."""


class LocalStorage(Storage):
    """See the module."""

    exact_listing = True
    far = False

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.root = options.root.absolute()
        self._refused: set[str] = set()
        """Directories that it was told of that they can't be read."""

    def path_of(self, key: str) -> Path:
        """Where the object of a key is; refuses keys that would leave the root."""
        parts = key.split("/")
        if not key or "\0" in key or any(part in ("", ".", "..") for part in parts):
            raise PermanentError(f"{key!r} can't be a file below {self.root}")
        path = self.root.joinpath(*parts)
        for parent in path.parents:
            if parent == self.root:
                return path
            if parent.is_symlink():
                break
        raise PermanentError(f"{key!r} leads through a symbolic link")

    def _stat(self, key: str) -> tuple[Path, os.stat_result]:
        path = self.path_of(key)
        with _translated(key):
            status = path.lstat()
        if not stats.S_ISREG(status.st_mode):
            raise ObjectNotFound(f"{self.name}/{key} is not a regular file")
        return path, status

    async def head(self, key: str, version_id: str | None = None) -> ObjectInfo:
        if version_id is not None:
            raise ObjectNotFound(f"{self.name} is a directory and keeps no versions")
        _, status = await asyncio.to_thread(self._stat, key)
        return file_version(self.name, key, status)

    async def fetch(self, info: ObjectInfo, path: Path, progress: Progress | None = None) -> None:
        """A symbolic link: a directory needs no copy. :meth:`verify` tells afterwards whether it stayed the same."""
        target = await asyncio.to_thread(self._exact, info)
        path.symlink_to(target)
        if progress is not None:
            progress(info.size)

    async def read(self, info: ObjectInfo, start: int, length: int) -> bytes:
        def part() -> bytes:
            with _translated(info.key), self._exact(info).open("rb") as file:
                file.seek(start)
                return file.read(length)

        return await asyncio.to_thread(part)

    async def verify(self, info: ObjectInfo) -> None:
        await asyncio.to_thread(self._exact, info)

    def _exact(self, info: ObjectInfo) -> Path:
        path, status = self._stat(info.key)
        if file_version(self.name, info.key, status).identity != info.identity:
            raise ObjectSuperseded(f"{info.uri} was overwritten since it was seen")
        if not os.access(path, os.R_OK):
            raise AccessRefused(f"{path} can't be read by this user")
        return path

    def _part(self, key: str, token: str) -> Path:
        target = self.path_of(key)
        return target.with_name(f".{digest(key, token).hex()}{PART_SUFFIX}")

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
        part, target = self._part(key, token), self.path_of(key)
        try:
            status = await asyncio.to_thread(self._write_part, path, part, key)
            info = file_version(self.name, key, status)
            if before is not None:
                await before(info)
            await asyncio.to_thread(self._publish, part, target, key)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return info

    @staticmethod
    def _write_part(path: Path, part: Path, key: str) -> os.stat_result:
        with _translated(key):
            part.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, part)  # the kernel copies (reflink or sendfile)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            return part.lstat()

    @staticmethod
    def _publish(part: Path, target: Path, key: str) -> None:
        with _translated(key):
            part.replace(target)
            directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    async def discard(self, key: str, token: str) -> None:
        await asyncio.to_thread(self._part(key, token).unlink, missing_ok=True)

    async def list(self, prefix: str = "") -> AsyncIterator[list[ObjectInfo]]:
        entries = self._walk(prefix)
        try:
            while page := await asyncio.to_thread(_take, entries):
                yield page
        finally:
            entries.close()

    def _walk(self, prefix: str) -> Generator[ObjectInfo, None, None]:
        """Lazily, so that a directory of a million files takes no more memory than one of ten."""
        folders = [prefix.rpartition("/")[0]]
        while folders:
            folder = folders.pop()
            with self._opened(folder) as found:
                for entry in found:
                    key = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(key)
                    elif key.startswith(prefix) and not entry.name.endswith(PART_SUFFIX):
                        info = self._seen(key, entry)
                        if info is not None:
                            yield info

    def _opened(self, folder: str) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        """What is in a directory; nothing in one below the root that is gone, or that can't be read."""
        try:
            return os.scandir(self.root / folder)
        except FileNotFoundError:
            if not folder:
                raise TransientError(f"the directory {self.root} is not there") from None
        except PermissionError:
            if not folder:
                raise AccessRefused(f"the directory {self.root} can't be read by this user") from None
            self._leave_out(folder)
        except OSError as error:
            raise TransientError(f"{self.root / folder} can't be listed: {error.strerror}") from None
        return contextlib.nullcontext(iter(()))

    def _leave_out(self, folder: str) -> None:
        """One directory of somebody else's, such as ``lost+found``, is no reason not to list the others."""
        if folder not in self._refused and len(self._refused) < SAID:
            self._refused.add(folder)
            _log.warning("a directory can't be read by this user and is left out", directory=str(self.root / folder))

    def _seen(self, key: str, entry: os.DirEntry[str]) -> ObjectInfo | None:
        """The version of a listed file; None when it is gone meanwhile, can't be seen, or is no regular file."""
        try:
            status = entry.stat(follow_symlinks=False)
        except (FileNotFoundError, PermissionError):
            return None
        return file_version(self.name, key, status) if stats.S_ISREG(status.st_mode) else None

    async def delete(self, key: str) -> None:
        with _translated(key):
            await asyncio.to_thread(self.path_of(key).unlink, missing_ok=True)

    async def check(self) -> None:
        if not self.root.is_dir():
            raise PermanentError(f"the directory {self.root} does not exist; make it, or correct `root`")
        if not os.access(self.root, os.R_OK | os.X_OK):
            raise AccessRefused(f"the directory {self.root} can't be read by this user")


def _take(entries: Iterator[ObjectInfo]) -> list[ObjectInfo]:
    return list(itertools.islice(entries, PAGE))


@contextlib.contextmanager
def _translated(key: str) -> Iterator[None]:
    """Errors of the operating system in this project's terms."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise ObjectNotFound(f"{key} does not exist") from None
    except PermissionError as error:
        raise AccessRefused(f"{error.filename or key}: permission denied") from None
    except OSError as error:
        raise TransientError(f"{key}: {error.strerror}") from None
