"""A picture made of a picture: another format, another quality, less noise, more detail (ProcessImage)."""

from __future__ import annotations

from pathlib import Path

from watcher.errors import MediaError
from watcher.media.assets import Assets
from watcher.media.render import Moments, Picture, Render, Size, Window
from watcher.media.verify import Produced
from watcher.model.image_request import ImageInput
from watcher.model.media_info import MediaInfo
from watcher.model.templates import Template
from watcher.steps.base import CONTENT_TYPES, OutputFile, Step, StepOutput, picture_of

DEFAULT_PATH = "{inputName}.{format}"
FORMATS = {"JPEG": "jpg", "PNG": "png", "BMP": "bmp", "WebP": "webp"}
_CODECS = {"mjpeg": "jpg", "png": "png", "apng": "png", "webp": "webp", "bmp": "bmp", "gif": "png"}
"""What a picture stays when no format is asked for; a moving one becomes its first frame."""
_ENCODERS = {
    "jpg": ("mjpeg", ("-c:v", "mjpeg")),
    "png": ("png", ("-c:v", "png")),
    "bmp": ("bmp", ("-c:v", "bmp")),
    "webp": ("webp", ("-c:v", "libwebp")),
}
_QUALITY = 90
"""Where none is asked for: nobody sees the difference to the original."""
_DENOISE = {"weak": "bilateral=sigmaS=2:sigmaR=0.06", "strong": "bilateral=sigmaS=4:sigmaR=0.2"}


class ImageStep(Step[ImageInput, Template]):
    """One picture; of a moving one, its first frame."""

    _format: str = ""

    def renders(self, media: MediaInfo, assets: Assets) -> list[Render]:
        """One render of the one frame, in the source's own size."""
        source = picture_of(media)
        given = self.spec.encode_config
        self._format = FORMATS[given.format] if given and given.format else _CODECS.get(source.codec, "png")
        codec, encoder = _ENCODERS[self._format]
        own = source.width, source.height
        picture = Picture(
            frames=Moments((0,)),
            size=Size(*own, own),
            codec=codec,
            encoder=(*encoder, *self._quality()),
            pixel_format=_pixels(self._format, source.pixel_format),
            repair=self._repair(),
            tone_map=source.is_hdr,
        )
        muxer = ("-f", "image2", "-start_number", "0")
        return [
            Render(name=self.name, window=Window(), video=picture, audio=(), file=f"f%d.{self._format}", muxer=muxer)
        ]

    def _quality(self) -> tuple[str, ...]:
        given = self.spec.encode_config
        quality = given.quality if given else None
        if self._format == "jpg":
            # The encoder counts from 2 (best) to 31.
            return ("-q:v", str(round(31 - 29 * (quality or _QUALITY) / 100)))
        if self._format == "webp":
            return ("-quality", str(quality or _QUALITY))
        if quality is not None:
            raise MediaError("InvalidInput", f"Quality does not go with {self._format}, which loses nothing")
        return ()

    def _repair(self) -> tuple[str, ...]:
        enhance = self.spec.enhance_config
        found: list[str] = []
        if enhance is not None and enhance.denoise is not None and enhance.denoise.switch == "ON":
            found.append(_DENOISE[enhance.denoise.type])
        if enhance is not None and enhance.sharp_enhance is not None and enhance.sharp_enhance.switch == "ON":
            found.append(f"unsharp=5:5:{1.5 * enhance.sharp_enhance.intensity:.3f}:5:5:0")
        return tuple(found)

    def collect(self, produced: list[Produced], directory: Path) -> StepOutput:
        (made,) = produced
        key = self.naming.object_key(self.patterns["output_object_path"], self._format)
        item = {"path": f"/{key}", "output_storage": self.storage}
        return StepOutput((OutputFile(made.files[0], key, CONTENT_TYPES[self._format]),), item)

    @property
    def patterns(self) -> dict[str, str]:
        return {"output_object_path": self.spec.output_object_path or DEFAULT_PATH}


def _pixels(form: str, source: str) -> str:
    """With what shines through, where both sides know of it."""
    clear = source in ("rgba", "bgra", "argb", "abgr", "ya8", "yuva420p", "rgba64be", "pal8")
    return {
        "jpg": "yuvj444p" if "444" in source or "rgb" in source else "yuvj420p",
        "png": "rgba" if clear else "rgb24",
        "bmp": "bgr24",
        "webp": "yuva420p" if clear else "yuv420p",
    }[form]
