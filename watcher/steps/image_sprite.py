"""Sheets of small pictures and the WebVTT that says which tile shows which time (contract pipelines.md, section 6)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from watcher.media.assets import Assets
from watcher.media.render import Interval, Picture, Render
from watcher.media.verify import Produced
from watcher.model.inputs import ImageSpriteInput
from watcher.model.media_info import MediaInfo
from watcher.model.output_path import relative_url
from watcher.model.templates import ImageSpriteTemplate
from watcher.steps.base import CONTENT_TYPES, OutputFile, Step, StepOutput, image_render, sampling, video_duration

DEFAULT_PATH = "{inputName}_imageSprite_{definition}_{number}.{format}"
DEFAULT_VTT_PATH = "{inputName}_imageSprite_{definition}.{format}"


class ImageSpriteStep(Step[ImageSpriteInput, ImageSpriteTemplate]):
    """Sheets of ``row_count`` × ``column_count`` tiles."""

    _duration: float = 0.0

    def renders(self, media: MediaInfo, assets: Assets) -> list[Render]:
        """One render that tiles all the samples."""
        self._duration = video_duration(media)
        frames = sampling(self.template.sample_type, self.template.sample_interval, media)
        tile = (self.template.column_count, self.template.row_count)
        return [image_render(self.name, media, self.template, frames, tile=tile)]

    def collect(self, produced: list[Produced], directory: Path) -> StepOutput:
        """The sheets first, the WebVTT that names them last."""
        (sheets,) = produced
        picture = sheets.render.video
        assert isinstance(picture, Picture)  # noqa: S101
        assert isinstance(picture.frames, Interval)  # noqa: S101
        pattern, form = self.patterns["output_object_path"], self.template.format
        files = [
            OutputFile(path, self.naming.object_key(pattern, form, number=index, several=True), CONTENT_TYPES[form])
            for index, path in enumerate(sheets.files)
        ]
        vtt_key = self.naming.object_key(self.patterns["web_vtt_object_name"], "vtt")
        vtt = directory / f"{self.name}.vtt"
        names = [relative_url(file.key, vtt_key) for file in files]
        tile = (picture.size.width, picture.size.height)
        text = web_vtt(picture.frames, self._duration, names, tile, self.template.column_count, self.template.row_count)
        vtt.write_text(text, encoding="utf-8")
        item = {
            "definition": self.spec.definition,
            "height": tile[1],
            "width": tile[0],
            "total_count": picture.frames.count,
            "image_path_set": [f"/{file.key}" for file in files],
            "web_vtt_path": f"/{vtt_key}",
            "storage": self.storage,
        }
        return StepOutput((*files, OutputFile(vtt, vtt_key, CONTENT_TYPES["vtt"])), item)

    @property
    def patterns(self) -> dict[str, str]:
        return {
            "output_object_path": self.spec.output_object_path or DEFAULT_PATH,
            "web_vtt_object_name": self.spec.web_vtt_object_name or DEFAULT_VTT_PATH,
        }


def web_vtt(
    frames: Interval, duration: float, sheets: list[str], tile: tuple[int, int], columns: int, rows: int
) -> str:
    """The cues: each tile is on show from its own time to that of the next; the last up to ``duration``."""
    lines = ["WEBVTT", ""]
    for index in range(frames.count):
        start = frames.seconds * index
        end = frames.seconds * (index + 1)
        if index == frames.count - 1:
            end = max(Fraction(round(duration * 1000), 1000), start + Fraction(1, 1000))
        place = index % (columns * rows)
        x, y = place % columns * tile[0], place // columns * tile[1]
        lines += [
            f"{_clock(start)} --> {_clock(end)}",
            f"{sheets[index // (columns * rows)]}#xywh={x},{y},{tile[0]},{tile[1]}",
            "",
        ]
    return "\n".join(lines)


def _clock(seconds: Fraction) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
