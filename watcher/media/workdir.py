"""Private work directories, one per task, that never outlive it for long."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_NAME = re.compile(r"task-[0-9a-zA-Z_-]+\Z")


class WorkRoot:
    """The folder that holds the work directories."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> int:
        """Make the folder and remove what a killed process left in it; returns how many were removed."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        left = [path for path in self.path.iterdir() if _NAME.match(path.name)]
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        return len(left)

    @asynccontextmanager
    async def directory(self, task_id: str) -> AsyncIterator[Path]:
        """An empty directory that only this user can enter; removed at the end, whatever happened."""
        path = self.path / f"task-{re.sub(r'[^0-9a-zA-Z_-]', '_', task_id)}"
        await asyncio.to_thread(_make, path)
        try:
            yield path
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, path, ignore_errors=True))


def _make(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True, mode=0o700)
