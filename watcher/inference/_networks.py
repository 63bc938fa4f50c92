"""What providers have in common whose network lies in a folder of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from watcher import plugin
from watcher.inference.base import Provider


class NetworkOptions(plugin.Options):
    """With the folder of a network."""

    model: Path
    """The folder of the network."""


class NetworkProvider(Provider):
    """A provider whose process reads the folder; ``needed`` is a file that has to be in it."""

    needed: ClassVar[str] = ""

    @classmethod
    def files(cls, options: plugin.Options) -> list[Path]:
        assert isinstance(options, NetworkOptions)  # noqa: S101  as each of these providers has them
        return [options.model]

    @classmethod
    def problem(cls, options: plugin.Options) -> str:
        assert isinstance(options, NetworkOptions)  # noqa: S101
        missing = ""
        if not options.model.is_dir():
            missing = f"there is no folder {options.model}"
        elif cls.needed and not (options.model / cls.needed).is_file():
            missing = f"there is no {cls.needed} in {options.model}"
        return super().problem(options) or missing
