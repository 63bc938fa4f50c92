"""Subtitle files: read whatever they are, written as what ffmpeg burns in or as a track (pipelines.md, section 8.5)."""

from __future__ import annotations

import pysubs2
from pysubs2 import SSAEvent, SSAFile, SSAStyle

from watcher.errors import MediaError
from watcher.media.assets import FOLDER, Asset, Assets, Wanted
from watcher.media.render import Size, Window
from watcher.model.dress import SubtitleTemplate, pixels

MAX_BYTES = 10 * 1024 * 1024
_ENCODINGS = ("utf-8-sig", "utf-16", "gb18030", "latin-1")
"""Tried in turn; the last one takes everything."""


def wanted(template: SubtitleTemplate) -> dict[str, Wanted]:
    """The files that burning in needs."""
    found: dict[str, Wanted] = {}
    if template.subtitle_file_input is not None:
        found["subtitles"] = Wanted("subtitles", source=template.subtitle_file_input)
    else:
        found["subtitles"] = Wanted("subtitles", stream=template.stream_index)
    found["font"] = Wanted("font", source=template.font_file_input, font=template.font_type, text_of="subtitles")
    return found


def read(asset: Asset) -> SSAFile:
    """SRT, WebVTT, ASS and what else pysubs2 knows, in any usual encoding."""
    if asset.file.stat().st_size > MAX_BYTES:
        raise MediaError("InvalidInput", f"the subtitle file is larger than {MAX_BYTES // 2**20} MiB")
    data = asset.file.read_bytes()
    for encoding in _ENCODINGS:
        try:
            text = data.decode(encoding)
            break
        except UnicodeError:
            continue
    try:
        found = SSAFile.from_string(text)
    except (pysubs2.exceptions.Pysubs2Error, ValueError, IndexError, KeyError):
        raise MediaError("InvalidInput", "the subtitle file is of no kind that is known (srt, vtt, ass …)") from None
    if not found.events:
        raise MediaError("InvalidInput", "the subtitle file holds no subtitles")
    return found


def as_srt(assets: Assets, name: str) -> str:
    """As a file that every muxer takes."""
    return assets.write(f"{name}.srt", read(assets[name]).to_string("srt"))


def as_web_vtt(assets: Assets, name: str) -> str:
    """The text of a WebVTT file."""
    return read(assets[name]).to_string("vtt")


def _colour(text: str, alpha: float) -> pysubs2.Color:
    value = int(text, 16)
    return pysubs2.Color(value >> 16, value >> 8 & 255, value & 255, round((1 - alpha) * 255))


def burn_in(template: SubtitleTemplate, assets: Assets, size: Size, window: Window) -> tuple[str, str]:
    """An ASS file over a picture of ``size``, and the folder of its font."""
    frame = (size.width, size.height)
    found = read(assets["subtitles"])
    share = {0: 1.0, 1: size.height / 100}
    style = SSAStyle(
        fontname=assets["font"].name,
        fontsize=pixels(template.font_size, size.height, frame),
        primarycolor=_colour(template.font_color, template.font_alpha),
        outlinecolor=_colour(template.outline_color, template.outline_alpha),
        backcolor=_colour(template.shadow_color, template.shadow_alpha),
        outline=template.outline_width * share[template.outline_width_unit],
        shadow=template.shadow_width * share[template.shadow_width_unit],
        marginv=round(pixels(template.y_pos, size.height, frame)),
        marginl=round(size.width * 0.05),
        marginr=round(size.width * 0.05),
        alignment=pysubs2.Alignment.TOP_CENTER if template.alignment == "top" else pysubs2.Alignment.BOTTOM_CENTER,
    )
    made = SSAFile()
    made.info |= {"PlayResX": str(size.width), "PlayResY": str(size.height), "ScaledBorderAndShadow": "yes"}
    made.styles = {"Default": style, "Board": SSAStyle(alignment=pysubs2.Alignment.TOP_LEFT, outline=0, shadow=0)}
    board = _board(template, size)
    for event in found.events:
        if event.is_comment or not event.plaintext.strip():
            continue
        start, end = event.start - round(window.start * 1000), event.end - round(window.start * 1000)
        if end <= 0:
            continue
        if board:
            made.events.append(SSAEvent(max(0, start), end, board, layer=0, style="Board"))
        text = event.plaintext.replace("\\", "\\\u2060").replace("{", "\\{").replace("\n", "\\N")
        made.events.append(SSAEvent(max(0, start), end, text, layer=1, style="Default"))
    return assets.write("burn.ass", made.to_string("ass")), f"../{FOLDER}/{assets.step}-fonts"


def _board(template: SubtitleTemplate, size: Size) -> str:
    """A rectangle behind the text, as an ASS drawing; empty when there is none."""
    if template.board_y is None:
        return ""
    width = template.board_width * (size.width / 100 if template.board_width_unit else 1)
    height = template.board_height * (size.height / 100 if template.board_height_unit else 1)
    bottom = size.height - pixels(template.board_y, size.height, (size.width, size.height))
    left, top = (size.width - width) / 2, bottom - height
    value = int(template.board_color, 16)
    colour = f"&H{value & 255:02X}{value >> 8 & 255:02X}{value >> 16:02X}&"
    alpha = f"&H{round((1 - template.board_alpha) * 255):02X}&"
    path = f"m 0 0 l {width:.0f} 0 l {width:.0f} {height:.0f} l 0 {height:.0f}"
    return f"{{\\an7\\pos({left:.0f},{top:.0f})\\bord0\\shad0\\1c{colour}\\1a{alpha}\\p1}}{path}{{\\p0}}"
