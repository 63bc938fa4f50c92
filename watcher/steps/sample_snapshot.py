"""Stills at an interval (contract pipelines.md, section 5).

The first picture is the first frame. ``Percent`` takes 0 %, n %, 2n % … below 100 %: the contract leaves open
whether the end is included, and there is no frame at 100 % of the duration.
"""

from __future__ import annotations

from pathlib import Path

from watcher.media.assets import Assets, Wanted
from watcher.media.render import Render
from watcher.media.verify import Produced
from watcher.model.inputs import SampleSnapshotInput
from watcher.model.media_info import MediaInfo
from watcher.model.templates import SampleSnapshotTemplate
from watcher.steps._layers import wanted
from watcher.steps.base import CONTENT_TYPES, OutputFile, Step, StepOutput, image_render, sampling

DEFAULT_PATH = "{inputName}_sampleSnapshot_{definition}_{number}.{format}"


class SampleSnapshotStep(Step[SampleSnapshotInput, SampleSnapshotTemplate]):
    """A picture each so many seconds or percent."""

    def wanted(self, media: MediaInfo) -> dict[str, Wanted]:
        """The pictures of the watermarks."""
        return wanted(self.watermarks)

    def renders(self, media: MediaInfo, assets: Assets) -> list[Render]:
        """One render of all the samples."""
        frames = sampling(self.template.sample_type, self.template.sample_interval, media)
        return [image_render(self.name, media, self.template, frames, marks=self.watermarks, assets=assets)]

    def collect(self, produced: list[Produced], directory: Path) -> StepOutput:
        """Numbers follow time."""
        (pictures,) = produced
        pattern, form = self.patterns["output_object_path"], self.template.format
        files = tuple(
            OutputFile(path, self.naming.object_key(pattern, form, number=index, several=True), CONTENT_TYPES[form])
            for index, path in enumerate(pictures.files)
        )
        item = {
            "definition": self.spec.definition,
            "sample_type": self.template.sample_type,
            "interval": self.template.sample_interval,
            "storage": self.storage,
            "image_path_set": [f"/{file.key}" for file in files],
            "water_mark_definition": [mark.definition for mark in self.spec.watermark_set],
        }
        return StepOutput(files, item)

    @property
    def patterns(self) -> dict[str, str]:
        return {"output_object_path": self.spec.output_object_path or DEFAULT_PATH}
