"""Asking the models: what was taken out of the source goes to the provider of each capability that a unit needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from watcher import log
from watcher.errors import MediaError
from watcher.media import measures
from watcher.media.extraction import Extracted
from watcher.media.inference import ModelProcess
from watcher.model.findings import (
    Box,
    Capability,
    Code,
    Failure,
    Findings,
    Labelled,
    Line,
    SeenFace,
    SeenPart,
    Sight,
    SpokenWord,
    Utterance,
)
from watcher.model.media_info import MediaInfo

_log = log.get("inference")


@dataclass(frozen=True, slots=True)
class Models:
    """The process of each capability's provider. ``step`` is the time between two pictures, in seconds."""

    processes: Mapping[Capability, ModelProcess] = field(default_factory=dict)
    step: float = 1.0

    async def find(
        self,
        wanted: set[Capability],
        extracted: Extracted,
        media: MediaInfo,
        language: str = "",
        samples: Mapping[str, Path] | None = None,
    ) -> Findings:
        """What there is to find; a capability that fails says why in the findings, and the others go on.

        ``samples`` are pictures of faces to look for, by their face id.
        """
        findings = Findings(media.duration, extracted.step)
        findings.has_picture, findings.has_sound = media.picture is not None, media.sound is not None
        findings.pictures = extracted.pictures
        if extracted.measures is not None:
            await asyncio.to_thread(_read_measures, findings, extracted.measures, media)
        searches: dict[Capability, Callable[[], Awaitable[None]]] = {
            "text": partial(self._text, findings, extracted),
            "speech": partial(self._speech, findings, extracted, language),
            "codes": partial(self._codes, findings, extracted),
            "vision": partial(self._vision, findings, extracted),
            "nudity": partial(self._nudity, findings, extracted),
            "faces": partial(self._faces, findings, extracted, samples or {}),
        }

        async def search(capability: Capability) -> None:
            try:
                await searches[capability]()
            except MediaError as error:
                findings.failures[capability] = Failure(error.code, error.message)

        await asyncio.gather(*(search(capability) for capability in sorted(wanted)))
        return findings

    async def _ask(self, capability: Capability, request: dict[str, Any]) -> list[dict[str, Any]]:
        process = self.processes.get(capability)
        if process is None:
            raise MediaError("InternalError", f"the settings name no provider of {capability}, under `ai`")
        return await process.ask(request)

    async def _look(self, capability: Capability, extracted: Extracted, **more: Any) -> list[dict[str, Any]]:
        """Ask about the pictures."""
        if not extracted.pictures:
            raise MediaError(Findings.no_picture.code, Findings.no_picture.message)
        return await self._ask(capability, {"pictures": [str(path) for path in extracted.pictures], **more})

    async def _text(self, findings: Findings, extracted: Extracted) -> None:
        found = await self._look("text", extracted)
        findings.sights = tuple(
            Sight(
                round(sight["index"] * extracted.step, 3),
                tuple(
                    Line(
                        str(line["text"]),
                        float(line["confidence"]),
                        _scaled(line["box"], extracted.scale),
                    )
                    for line in sight["lines"]
                ),
            )
            for sight in found
        )

    async def _codes(self, findings: Findings, extracted: Extracted) -> None:
        found = await self._look("codes", extracted)
        findings.codes = tuple(
            (
                round(picture["index"] * extracted.step, 3),
                tuple(
                    Code(str(code["kind"]), str(code["text"]), _scaled(code["box"], extracted.scale))
                    for code in picture["codes"]
                ),
            )
            for picture in found
        )

    async def _vision(self, findings: Findings, extracted: Extracted) -> None:
        found = await self._look("vision", extracted)
        findings.labelled = tuple(
            Labelled(
                round(picture["index"] * extracted.step, 3),
                str(picture["category"]),
                tuple((str(tag["name"]), float(tag["confidence"])) for tag in picture["tags"]),
            )
            for picture in found
        )

    async def _nudity(self, findings: Findings, extracted: Extracted) -> None:
        found = await self._look("nudity", extracted)
        findings.parts = tuple(
            (
                round(picture["index"] * extracted.step, 3),
                tuple(
                    SeenPart(str(part["name"]), float(part["confidence"]), _scaled(part["box"], extracted.scale))
                    for part in picture["parts"]
                ),
            )
            for picture in found
        )

    async def _faces(self, findings: Findings, extracted: Extracted, samples: Mapping[str, Path]) -> None:
        if extracted.pictures and not samples:
            return  # there is nobody to recognise
        first, *found = await self._look(
            "faces", extracted, samples={name: str(path) for name, path in samples.items()}
        )
        if first["unusable"]:
            _log.warning("samples that do not show exactly one face are not looked for", faces=first["unusable"])
        findings.faces = tuple(
            (
                round(picture["index"] * extracted.step, 3),
                tuple(
                    SeenFace(str(near["sample"]), likeness(near["distance"]), _scaled(face["box"], extracted.scale))
                    for face in picture["faces"]
                    for near in face["near"]
                ),
            )
            for picture in found
        )

    async def _speech(self, findings: Findings, extracted: Extracted, language: str) -> None:
        if extracted.sound is None:
            raise MediaError("SourceFileError.NoAudioMedia", "the source has no audio stream")
        found = await self._ask("speech", {"sound": str(extracted.sound), "language": language})
        findings.utterances = tuple(
            Utterance(
                round(float(said["start"]), 3),
                round(float(said["end"]), 3),
                str(said["text"]),
                float(said["confidence"]),
                tuple(
                    SpokenWord(str(w["text"]), round(float(w["start"]), 3), round(float(w["end"]), 3))
                    for w in said["words"]
                ),
            )
            for said in found
        )

    async def close(self) -> None:
        """End the processes."""
        for process in self.processes.values():
            await process.close()


_LIKENESS = ((0.0, 100.0), (0.5, 95.0), (0.6, 80.0), (0.8, 0.0))
"""Distances of dlib's network, and what they mean in percent. Its authors tell people apart at 0.6; a film shows many
faces, so that the model's usual 95 % is a little less."""


def likeness(distance: float) -> float:
    """How like two faces are, 0 to 100: a straight line between the points above."""
    for (near, high), (far, low) in pairwise(_LIKENESS):
        if distance < far:
            return round(high - (high - low) * (distance - near) / (far - near), 2)
    return 0.0


def _scaled(box: Sequence[int], scale: tuple[float, float]) -> Box:
    """A box of a picture as one of the source."""
    wide, high = scale
    left, top, right, bottom = (max(0, side) for side in box)
    return round(left * wide), round(top * high), round(right * wide), round(bottom * high)


def _read_measures(findings: Findings, folder: Path, media: MediaInfo) -> None:
    if media.picture is not None:
        findings.looks = measures.looks(folder / measures.PICTURE_FILE, (media.picture.width, media.picture.height))
    findings.loudness = measures.loudness(folder / measures.SOUND_FILE)


NO_MODELS = Models()
"""Where nothing is configured."""
