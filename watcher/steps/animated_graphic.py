"""Moving pictures without sound: GIF and WebP (contract pipelines.md, section 3)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from watcher.errors import MediaError
from watcher.media.assets import Assets
from watcher.media.render import Picture, Render, Steady, fit
from watcher.media.verify import Produced
from watcher.model.inputs import AnimatedGraphicInput
from watcher.model.media_info import MediaInfo
from watcher.model.templates import AnimatedGraphicTemplate
from watcher.steps.base import CONTENT_TYPES, OutputFile, Step, StepOutput, display_size, md5_of, offsets, picture_of

DEFAULT_PATH = "{inputName}_animatedGraphic_{definition}.{format}"
MAX_PIXELS = 512 * 1024 * 1024
"""Of a GIF, all frames together: the palette is made of all of them, and they wait in memory for it."""


class AnimatedGraphicStep(Step[AnimatedGraphicInput, AnimatedGraphicTemplate]):
    """One picture that moves, from one offset to another."""

    def renders(self, media: MediaInfo, assets: Assets) -> list[Render]:
        """One render over the window asked for."""
        picture, template = picture_of(media), self.template
        window = offsets(self.spec.start_time_offset, self.spec.end_time_offset, media.duration)
        size = fit(
            display_size(picture),
            template.width,
            template.height,
            adaptive=template.resolution_adaptive,
            fill="stretch",
        )
        frames = window.length(media.duration) * template.fps
        if template.format == "gif" and frames * size.width * size.height > MAX_PIXELS:
            raise MediaError(
                "InvalidInput", f"{frames:.0f} frames of {size.width}×{size.height} are too many for a GIF; "
                "take a shorter part, a smaller size or WebP"
            )  # fmt: skip
        if template.format == "gif":
            encoder: tuple[str, ...] = ("-c:v", "gif")
            # The palette is the one thing about a GIF's quality that can be chosen.
            colours = max(8, min(256, round(256 * (template.quality / 75) ** 2)))
        else:
            encoder, colours = ("-c:v", "libwebp_anim", "-quality", str(template.quality), "-loop", "0"), 0
        video = Picture(
            Steady(Fraction(template.fps)), size, template.format, encoder, tone_map=picture.is_hdr, palette=colours
        )
        form = template.format
        return [Render(self.name, window, video, (), f"main.{form}", ("-f", form, "-loop", "0"))]

    def collect(self, produced: list[Produced], directory: Path) -> StepOutput:
        """The one file."""
        (made,) = produced
        key = self.naming.object_key(self.patterns["output_object_path"], self.template.format)
        path, window = made.files[0], made.render.window
        size = path.stat().st_size
        length = made.media.duration or window.length(made.media.duration)
        video = made.render.video
        assert isinstance(video, Picture)  # noqa: S101
        item = {
            "storage": self.storage,
            "path": f"/{key}",
            "definition": self.spec.definition,
            "container": self.template.format,
            "height": video.size.height,
            "width": video.size.width,
            "bitrate": round(size * 8 / length) if length else 0,
            "size": size,
            "md5": md5_of(path),
            "start_time_offset": self.spec.start_time_offset,
            "end_time_offset": self.spec.end_time_offset,
        }
        return StepOutput((OutputFile(path, key, CONTENT_TYPES[self.template.format]),), item)

    @property
    def patterns(self) -> dict[str, str]:
        return {"output_object_path": self.spec.output_object_path or DEFAULT_PATH}
