"""Files that an output needs besides the source: pictures, texts, fonts, subtitles, further clips.

They lie in a folder of the task, beside that of the outputs, under names of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from watcher.model.media_info import MediaInfo
from watcher.model.resources import MediaInputInfo

FOLDER = "assets"

Kind = Literal["picture", "clip", "text", "font", "subtitles"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that a step needs: its ``content``, an object, a subtitle ``stream`` of the source, or a font by name.

    ``text_of`` names the file whose characters the font must have; unset: the text of the same number.
    """

    kind: Kind
    content: bytes | None = field(default=None, repr=False)
    source: MediaInputInfo | None = None
    font: str = ""
    text_of: str = ""
    stream: int | None = None


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that is there. ``path`` is as ffmpeg sees it; ``media`` what a picture or clip is; ``name`` a font's."""

    path: str
    file: Path
    media: MediaInfo | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Assets:
    """What one step asked for, by the names it gave, and what was measured for it.

    ``loudness`` is the integrated loudness of the source in LUFS and its true peak in dBTP; ``crf`` the quality
    that a search found.
    """

    folder: Path
    step: str = ""
    found: Mapping[str, Asset] = field(default_factory=dict)
    loudness: tuple[float, float] | None = None
    crf: int | None = None

    def __getitem__(self, name: str) -> Asset:
        return self.found[name]

    def write(self, name: str, text: str) -> str:
        """A small file of the step's own; returns its path as ffmpeg sees it."""
        (self.folder / f"{self.step}-{name}").write_text(text, encoding="utf-8")
        return f"../{FOLDER}/{self.step}-{name}"


NO_ASSETS = Assets(Path())
"""For a step that asked for nothing."""
