"""Stills at given times (contract pipelines.md, section 4)."""

from __future__ import annotations

from pathlib import Path

from watcher.errors import MediaError
from watcher.media.assets import Assets, Wanted
from watcher.media.render import Moments, Render
from watcher.media.verify import Produced
from watcher.model.inputs import SnapshotByTimeOffsetInput
from watcher.model.media_info import MediaInfo
from watcher.model.templates import SnapshotByTimeOffsetTemplate
from watcher.steps._layers import wanted
from watcher.steps.base import CONTENT_TYPES, OutputFile, Step, StepOutput, image_render, picture_of, video_duration

DEFAULT_PATH = "{inputName}_snapshotByTimeOffset_{definition}_{number}.{format}"


class SnapshotByTimeOffsetStep(Step[SnapshotByTimeOffsetInput, SnapshotByTimeOffsetTemplate]):
    """One picture for each time asked for, in the order given."""

    _times: tuple[float, ...] = ()
    _moments: tuple[int, ...] = ()

    def wanted(self, media: MediaInfo) -> dict[str, Wanted]:
        """The pictures of the watermarks."""
        return wanted(self.watermarks)

    def renders(self, media: MediaInfo, assets: Assets) -> list[Render]:
        """One render of all the times; a time beyond the end is refused, one behind the last frame is that frame."""
        picture, duration = picture_of(media), max(video_duration(media), media.duration)
        self._times = tuple(round(time, 3) for time in self.spec.seconds(duration))
        frame = float(1 / picture.fps) if picture.fps else 0.04
        last = max(0, int((video_duration(media) - frame) * 1000) - 1)
        for time in self._times:
            if time > duration + frame:
                message = f"{time:g} s is beyond the end of the media ({duration:.2f} s)"
                raise MediaError("InvalidInput.InvalidTimeOffset", message)
        self._moments = tuple(min(round(time * 1000), last) for time in self._times)
        return [
            image_render(
                self.name,
                media,
                self.template,
                Moments(tuple(sorted(set(self._moments)))),
                marks=self.watermarks,
                assets=assets,
            )
        ]

    def collect(self, produced: list[Produced], directory: Path) -> StepOutput:
        """Numbers follow the order of the times in the input."""
        (pictures,) = produced
        by_moment = dict(zip(pictures.moments, pictures.files, strict=True))
        files = [
            OutputFile(
                by_moment[moment],
                self.naming.object_key(
                    self.patterns["output_object_path"], self.template.format, number=index, several=True
                ),
                CONTENT_TYPES[self.template.format],
            )
            for index, moment in enumerate(self._moments)
        ]
        item = {
            "definition": self.spec.definition,
            "pic_info_set": [
                {
                    "time_offset": time,
                    "path": f"/{file.key}",
                    "water_mark_definition": [mark.definition for mark in self.spec.watermark_set],
                }
                for time, file in zip(self._times, files, strict=True)
            ],
            "storage": self.storage,
        }
        return StepOutput(tuple(files), item)

    @property
    def patterns(self) -> dict[str, str]:
        return {"output_object_path": self.spec.output_object_path or DEFAULT_PATH}
