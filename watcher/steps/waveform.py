"""A picture of the sound. Ours: the model has no such sub-task."""

from __future__ import annotations

from pathlib import Path

from watcher.errors import MediaError
from watcher.media.assets import Assets
from watcher.media.render import Render, Waveform, Window
from watcher.media.verify import Produced
from watcher.model.inputs import WaveformInput
from watcher.model.media_info import MediaInfo
from watcher.model.templates import WaveformTemplate
from watcher.steps.base import CONTENT_TYPES, IMAGE_CODECS, OutputFile, Step, StepOutput

DEFAULT_PATH = "{inputName}_waveform_{definition}.{format}"


class WaveformStep(Step[WaveformInput, WaveformTemplate]):
    """One picture of the first audio stream."""

    def renders(self, media: MediaInfo, assets: Assets) -> list[Render]:
        """One render; a source without sound has no waveform."""
        if media.sound is None:
            raise MediaError("SourceFileError.NoAudioMedia", "the source has no audio stream")
        template = self.template
        codec, encoder = IMAGE_CODECS[template.format]
        video = Waveform(
            (template.width, template.height), template.color, bool(template.split_channels), codec, encoder
        )
        return [Render(self.name, Window(), video, (), f"f0.{template.format}", ("-f", "image2", "-update", "1"))]

    def collect(self, produced: list[Produced], directory: Path) -> StepOutput:
        """The one picture."""
        (made,) = produced
        form = self.template.format
        key = self.naming.object_key(self.patterns["output_object_path"], form)
        item = {
            "storage": self.storage,
            "path": f"/{key}",
            "definition": self.spec.definition,
            "height": self.template.height,
            "width": self.template.width,
        }
        return StepOutput((OutputFile(made.files[0], key, CONTENT_TYPES[form]),), item)

    @property
    def patterns(self) -> dict[str, str]:
        return {"output_object_path": self.spec.output_object_path or DEFAULT_PATH}
