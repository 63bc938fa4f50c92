"""Pictures made of pictures: every format into every other, looked at by another decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageStat

from tests.workbench import Bench
from watcher.model.image_request import ImageRequest
from watcher.model.task import StepResult
from watcher.mps import wire

SIZE = (97, 61)


def drawn(mode: str = "RGB") -> Image.Image:
    """Colours, an edge, and, where there is such a thing, a part that shines through."""
    image = Image.new(mode, SIZE, (200, 60, 30) if mode == "RGB" else (200, 60, 30, 255))
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 10, 80, 40), fill=(20, 90, 220) if mode == "RGB" else (20, 90, 220, 0))
    return image


async def process(bench: Bench, key: str, **task: Any) -> StepResult:
    """The one result of a picture's task."""
    place = {"Type": "COS", "CosInputInfo": {"Bucket": "b", "Region": "r", "Object": f"/{key}"}}
    order = wire.decode(ImageRequest, {"InputInfo": place, "ImageTask": task, "OutputDir": "/out/"})
    (result,) = (await bench.run_order(order, key)).results
    return result


def made(bench: Bench, result: StepResult) -> Image.Image:
    assert result.status == "SUCCESS", result.message
    assert result.output is not None
    with Image.open(bench.path(str(result.output["path"]))) as image:
        image.load()
        return image


SOURCES = {"a.png": "PNG", "a.jpg": "JPEG", "a.webp": "WEBP", "a.bmp": "BMP", "a.gif": "GIF"}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "WebP"])
@pytest.mark.parametrize("name", SOURCES)
async def test_every_format_into_every_other(name: str, form: str, workbench: Bench) -> None:
    """The same picture, in its own size."""
    drawn().save(workbench.path(name), SOURCES[name])
    image = made(workbench, await process(workbench, name, EncodeConfig={"Format": form}))
    assert (image.format or "").upper() == form.upper()
    assert image.size == SIZE
    with Image.open(workbench.path(name)) as source:
        difference = ImageChops.difference(image.convert("RGB"), source.convert("RGB"))
    assert max(ImageStat.Stat(difference).mean) < 6


async def test_a_picture_keeps_its_format(workbench: Bench) -> None:
    """Where none is asked for; and what has no loss stays as it was, with what shines through."""
    drawn("RGBA").save(workbench.path("clear.png"))
    image = made(workbench, await process(workbench, "clear.png"))
    assert image.format == "PNG"
    assert image.mode == "RGBA"
    assert ImageChops.difference(image, drawn("RGBA").convert("RGBA")).getbbox() is None
    webp = made(workbench, await process(workbench, "clear.png", EncodeConfig={"Format": "WebP"}))
    assert webp.convert("RGBA").getpixel((60, 25))[3] == 0  # type: ignore[index]


async def test_quality(workbench: Bench) -> None:
    """Less of it is fewer bytes."""
    Image.effect_noise((200, 200), 60).convert("RGB").save(workbench.path("noise.png"))
    sizes = []
    for form in ("JPEG", "WebP"):
        for quality in (10, 50, 95):
            task = {"EncodeConfig": {"Format": form, "Quality": quality}}
            result = await process(workbench, "noise.png", **task)
            made(workbench, result)
            assert result.output is not None
            sizes.append(workbench.path(str(result.output["path"])).stat().st_size)
    assert sizes[:3] == sorted(sizes[:3])
    assert sizes[3:] == sorted(sizes[3:])
    refused = await process(workbench, "noise.png", EncodeConfig={"Format": "BMP", "Quality": 50})
    assert "loses nothing" in refused.message


async def test_noise_and_detail(workbench: Bench) -> None:
    """Taken away, and brought out."""
    Image.effect_noise((128, 128), 10).convert("RGB").save(workbench.path("noise.png"))

    async def spread(**task: Any) -> float:
        image = made(workbench, await process(workbench, "noise.png", EncodeConfig={"Format": "BMP"}, **task))
        return float(ImageStat.Stat(image.convert("L")).stddev[0])

    plain = await spread()
    weak = await spread(EnhanceConfig={"Denoise": {"Switch": "ON", "Type": "weak"}})
    strong = await spread(EnhanceConfig={"Denoise": {"Switch": "ON", "Type": "strong"}})
    off = await spread(EnhanceConfig={"Denoise": {"Switch": "OFF"}})
    sharp = await spread(EnhanceConfig={"SharpEnhance": {"Switch": "ON", "Intensity": 0.8}})
    assert strong < weak < plain == off < sharp


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("film.png", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(500), "can't be read"),
        ("empty.png", b"", "empty"),
        ("text.png", b"hello, this is no picture at all" * 20, ""),
        ("cut.png", None, ""),
    ],
)
async def test_what_is_no_picture(name: str, content: bytes | None, words: str, workbench: Bench) -> None:
    """Films, texts and halves end with words; a film is not opened at all."""
    if content is None:
        drawn().save(workbench.path("whole.png"))
        content = workbench.path("whole.png").read_bytes()[:60]
    workbench.path(name).write_bytes(content)
    result = await process(workbench, name, EncodeConfig={"Format": "JPEG"})
    assert result.status == "FAIL"
    assert result.code.startswith("SourceFileError")
    assert not words or words in result.message or "opened" in result.message


async def test_a_film_is_no_picture(workbench: Bench, clip: Path) -> None:
    """And a picture is still no film."""
    workbench.path("clip.mp4").write_bytes(clip.read_bytes())
    assert (await process(workbench, "clip.mp4")).code.startswith("SourceFileError")
    drawn().save(workbench.path("a.png"))
    assert "SourceFileError" in await workbench.refused("a.png", ImageSpriteTaskSet=[{"Definition": 10}])


async def test_the_source_is_never_written_over(workbench: Bench) -> None:
    """The default name in the source's own directory would be the source."""
    drawn().save(workbench.path("a.png"))
    place = {"Type": "COS", "CosInputInfo": {"Bucket": "b", "Region": "r", "Object": "/a.png"}}
    order = wire.decode(ImageRequest, {"InputInfo": place, "ImageTask": {}})
    (result,) = (await workbench.run_order(order, "a.png")).results
    assert "would overwrite the source object" in result.message
