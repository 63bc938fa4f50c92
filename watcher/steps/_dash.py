"""MPEG-DASH manifests of the on-demand profile (ISO/IEC 23009-1): one indexed file for each rendition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from watcher.errors import MediaError

NAMESPACE = "urn:mpeg:dash:schema:mpd:2011"
PROFILE = "urn:mpeg:dash:profile:isoff-on-demand:2011"
MUXER = ("-f", "mp4", "-movflags", "+dash+cmaf+global_sidx+frag_keyframe+delay_moov")
"""Fragments at each key frame, with an index of all of them in front."""
AUDIO_MUXER = ("-f", "mp4", "-movflags", "+dash+cmaf+global_sidx+delay_moov")
"""The same for sound, where every packet is a key frame: fragments of a given length."""


@dataclass(frozen=True, slots=True)
class Representation:
    """One file of a manifest. ``kind`` is video, audio or text; ``url`` relative to the manifest; rates in bit/s."""

    kind: str
    url: str
    path: Path
    bandwidth: int
    codecs: str
    width: int = 0
    height: int = 0
    frame_rate: str = ""
    sample_rate: int = 0
    channels: int = 0
    language: str = ""
    label: str = ""
    default: bool = False
    group: str = ""
    """Representations of one group can be switched between."""


def ranges(path: Path) -> tuple[str, str]:
    """The byte ranges of the initialisation section and of the index of a fragmented MP4 file."""
    moov_end = 0
    with path.open("rb") as file:
        position = 0
        while header := file.read(8):
            size, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if size == 1:
                size = int.from_bytes(file.read(8), "big")
            if kind == b"moov":
                moov_end = position + size
            elif kind == b"sidx" and moov_end:
                return f"0-{moov_end - 1}", f"{position}-{position + size - 1}"
            if size < 8:
                break
            position += size
            file.seek(position)
    raise MediaError("InternalError", f"the output {path.name} has no index")


def manifest(representations: Sequence[Representation], duration: float) -> str:
    """The MPD as text."""
    root = ElementTree.Element("MPD", {
        "xmlns": NAMESPACE, "type": "static", "profiles": PROFILE, "minBufferTime": "PT2S",
        "mediaPresentationDuration": f"PT{duration:.3f}S",
    })  # fmt: skip
    period = ElementTree.SubElement(root, "Period", {"id": "0", "duration": f"PT{duration:.3f}S"})
    groups: dict[str, list[Representation]] = {}
    for item in representations:
        groups.setdefault(item.group or item.kind, []).append(item)
    number = 0
    for name, members in groups.items():
        first = members[0]
        attributes = {"id": name, "contentType": first.kind, "mimeType": _mime(first.kind)}
        if first.kind != "text":
            attributes |= {"subsegmentAlignment": "true", "subsegmentStartsWithSAP": "1"}
        if first.language:
            attributes["lang"] = first.language
        chosen = ElementTree.SubElement(period, "AdaptationSet", attributes)
        if first.kind != "video":
            role = "subtitle" if first.kind == "text" else ("main" if first.default else "alternate")
            ElementTree.SubElement(chosen, "Role", {"schemeIdUri": "urn:mpeg:dash:role:2011", "value": role})
        if first.label:
            ElementTree.SubElement(chosen, "Label").text = first.label
        for item in members:
            _add(chosen, item, number)
            number += 1
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _mime(kind: str) -> str:
    return "text/vtt" if kind == "text" else f"{kind}/mp4"


def _add(to: ElementTree.Element, item: Representation, number: int) -> None:
    attributes = {"id": str(number), "bandwidth": str(max(1, item.bandwidth))}
    if item.codecs:
        attributes["codecs"] = item.codecs
    if item.kind == "video":
        attributes |= {"width": str(item.width), "height": str(item.height), "frameRate": item.frame_rate}
    if item.kind == "audio":
        attributes["audioSamplingRate"] = str(item.sample_rate)
    element = ElementTree.SubElement(to, "Representation", attributes)
    if item.kind == "audio":
        ElementTree.SubElement(element, "AudioChannelConfiguration", {
            "schemeIdUri": "urn:mpeg:dash:23003:3:audio_channel_configuration:2011", "value": str(item.channels),
        })  # fmt: skip
    ElementTree.SubElement(element, "BaseURL").text = item.url
    if item.kind != "text":
        initialisation, index = ranges(item.path)
        base = ElementTree.SubElement(element, "SegmentBase", {"indexRange": index})
        ElementTree.SubElement(base, "Initialization", {"range": initialisation})
