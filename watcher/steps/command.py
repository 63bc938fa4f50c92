"""A program of the configuration, run over the object. Ours: the model has no such sub-task."""

from __future__ import annotations

import mimetypes
import stat
from pathlib import Path

from watcher.errors import MediaError
from watcher.media.assets import Assets
from watcher.media.program import Program
from watcher.media.render import Render
from watcher.media.verify import Produced
from watcher.model.inputs import CommandInput
from watcher.model.media_info import MediaInfo
from watcher.model.templates import Template
from watcher.steps.base import CONTENT_TYPES, OutputFile, Step, StepOutput

MAX_FILES = 10_000


class CommandStep(Step[CommandInput, Template]):
    """All regular files that the program leaves in its folder are results, under their own names."""

    def renders(self, media: MediaInfo, assets: Assets) -> list[Render]:
        """Nothing of the shared decode."""
        return []

    def program(self) -> Program:
        """What the configuration says."""
        return Program(self.spec.command, self.spec.timeout, self.spec.network)

    def collect(self, produced: list[Produced], directory: Path) -> StepOutput:
        """The files by name. OutputObjectPath, when given, is a pattern for a program that leaves one file."""
        folder = directory / self.name
        # Links are left out: they could lead to any file of this machine.
        found = sorted(path for path in folder.rglob("*") if stat.S_ISREG(path.lstat().st_mode))
        if len(found) > MAX_FILES:
            raise MediaError("InternalError", f"the command left {len(found)} files, more than {MAX_FILES}")
        files = tuple(OutputFile(path, self._key(path, folder, len(found)), _content_type(path)) for path in found)
        item = {"storage": self.storage, "path_set": [f"/{file.key}" for file in files], "name": self.spec.name}
        return StepOutput(files, item)

    def _key(self, path: Path, folder: Path, count: int) -> str:
        extension = path.suffix.removeprefix(".")
        if self.spec.output_object_path and count == 1:
            return self.naming.object_key(self.spec.output_object_path, extension or "bin")
        return self.naming.literal(f"{{inputName}}_{self.spec.name}/{path.relative_to(folder)}")

    @property
    def patterns(self) -> dict[str, str]:
        return {"output_object_path": self.spec.output_object_path or f"{{inputName}}_{self.spec.name}/"}


def _content_type(path: Path) -> str:
    known = CONTENT_TYPES.get(path.suffix.removeprefix(".").lower())
    return known or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
