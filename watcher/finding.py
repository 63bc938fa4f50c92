"""Asking the models: what was taken out of the source goes to the provider of each capability that a unit needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from watcher import log
from watcher.errors import MediaError
from watcher.media import extraction, measures
from watcher.media.extraction import Extracted
from watcher.media.inference import ModelProcess
from watcher.model import answers
from watcher.model.ai_parts import Needed
from watcher.model.findings import Capability, Failure, Findings
from watcher.model.media_info import MediaInfo

_log = log.get("inference")

V = TypeVar("V")

THEN: tuple[Capability, ...] = ("description", "translation")
"""What is asked when the others have answered: it is about what is said."""


_SEEN: dict[Capability, tuple[str, Callable[[Sequence[answers.Answer], float, answers.Scale], Iterable[Any]]]] = {
    "text": ("sights", answers.sights),
    "codes": ("codes", answers.codes),
    "vision": ("labelled", lambda found, step, _: answers.labelled(found, step)),
    "nudity": ("parts", answers.parts),
    "objects": ("objects", answers.objects),
    "violence": ("violence", answers.objects),
}
"""What is only looked for in pictures: the member of the findings, and what makes it of the answers."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is to be found. ``samples`` are pictures of faces to look for, by their face id.

    ``language`` is the one that is spoken, empty where nobody said; ``translate_to`` and ``describe_in`` are those that
    are to be written.
    """

    wanted: frozenset[Needed]
    language: str = ""
    translate_to: frozenset[str] = frozenset()
    describe_in: frozenset[str] = frozenset()
    samples: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Models:
    """The process of each capability's provider. ``step`` is the time between two pictures, in seconds."""

    processes: Mapping[Capability, ModelProcess] = field(default_factory=dict)
    step: float = 1.0

    async def find(self, search: Search, extracted: Extracted, media: MediaInfo) -> Findings:
        """What there is to find; a capability that fails says why in the findings, and the others go on."""
        findings = Findings(media.duration, extracted.step)
        findings.has_picture, findings.has_sound = media.picture is not None, media.sound is not None
        findings.pictures = extracted.pictures
        ways: dict[Needed, Callable[[], Awaitable[None]]] = {
            "measures": partial(_read_measures, findings, extracted, media),
            "fingerprint": partial(_read_fingerprint, findings, extracted),
            "bars": partial(_read_bars, findings, extracted),
            "speech": partial(self._speech, findings, extracted, search.language),
            "faces": partial(self._faces, findings, extracted, search.samples),
            "cuts": partial(self._cuts, findings, extracted),
            "description": partial(self._description, findings, extracted, search.describe_in),
            "translation": partial(self._translation, findings, search),
        }

        ways |= {name: partial(self._pictures, findings, extracted, name) for name in _SEEN}

        async def attempt(needed: Needed) -> None:
            try:
                await ways[needed]()
            except MediaError as error:
                findings.failures[needed] = Failure(error.code, error.message)

        await asyncio.gather(*(attempt(needed) for needed in sorted(search.wanted - {*THEN, "diagnosis"})))
        await asyncio.gather(*(attempt(needed) for needed in sorted(search.wanted & set(THEN))))
        return findings

    async def _ask(self, capability: Capability, request: dict[str, Any]) -> list[dict[str, Any]]:
        process = self.processes.get(capability)
        if process is None:
            raise MediaError("InternalError", f"the settings name no provider of {capability}, under `ai`")
        return await process.ask({"capability": capability, **request})

    async def _look(self, capability: Capability, extracted: Extracted, **more: Any) -> list[dict[str, Any]]:
        """Ask about the pictures."""
        pictures = _require(extracted, extraction.PICTURES, extracted.pictures, Findings.no_picture)
        return await self._ask(capability, {"pictures": [str(path) for path in pictures], **more})

    async def _pictures(self, findings: Findings, extracted: Extracted, capability: Capability) -> None:
        """What is found in pictures, one by one."""
        member, read = _SEEN[capability]
        found = await self._look(capability, extracted)
        setattr(findings, member, tuple(read(found, extracted.step, extracted.scale)))

    async def _faces(self, findings: Findings, extracted: Extracted, samples: Mapping[str, Path]) -> None:
        first, *found = await self._look(
            "faces", extracted, samples={name: str(path) for name, path in samples.items()}
        )
        if first["unusable"]:
            _log.warning("samples that do not show exactly one face are not looked for", faces=first["unusable"])
        findings.faces = tuple(answers.faces(found, extracted.step, extracted.scale))
        findings.face_boxes = tuple(answers.face_boxes(found, extracted.step, extracted.scale))

    async def _speech(self, findings: Findings, extracted: Extracted, language: str) -> None:
        sound = _require(extracted, extraction.SOUND, extracted.sound, Findings.no_sound)
        found = await self._ask("speech", {"sound": str(sound), "language": language})
        findings.utterances = tuple(answers.utterances(found))

    async def _cuts(self, findings: Findings, extracted: Extracted) -> None:
        film = _require(extracted, extraction.MOTION, extracted.motion, Findings.no_picture)
        found = await self._ask("cuts", {"film": str(film)})
        findings.cuts = tuple(round(float(cut["time"]), 3) for cut in found)

    async def _description(self, findings: Findings, extracted: Extracted, languages: frozenset[str]) -> None:
        said = [[utterance.start, utterance.text] for utterance in findings.utterances]
        about = {"step": extracted.step, "duration": findings.duration, "said": said}
        for language in sorted(languages):
            (found,) = await self._look("description", extracted, **about, language=language)
            findings.described[language] = answers.description(found)

    async def _translation(self, findings: Findings, search: Search) -> None:
        failed = findings.failures.get("speech")
        if failed is not None:
            raise MediaError(failed.code, failed.message)
        texts = [utterance.text for utterance in findings.utterances]
        if not texts:
            return
        for language in sorted(search.translate_to):
            request = {"texts": texts, "language": language, "source": search.language}
            found = tuple(str(item["text"]) for item in await self._ask("translation", request))
            if len(found) != len(texts):
                raise MediaError("InternalError", f"{len(found)} of {len(texts)} texts were translated")
            findings.translations[language] = found

    async def close(self) -> None:
        """End the processes."""
        for process in self.processes.values():
            await process.close()


def _require(extracted: Extracted, name: str, found: V | None, missing: Failure) -> V:
    """What was taken out of the source; raises MediaError where it was not: why, or that the source has it not."""
    failed = extracted.failures.get(name)
    if failed is None and found:
        return found
    failed = failed or missing
    raise MediaError(failed.code, failed.message)


async def _read_measures(findings: Findings, extracted: Extracted, media: MediaInfo) -> None:
    if not findings.has_picture and not findings.has_sound:
        return
    missing = Failure("InternalError", "nothing was measured")
    folder = _require(extracted, extraction.MEASURES, extracted.measures, missing)
    if media.picture is not None:
        size = media.picture.width, media.picture.height
        findings.looks = await asyncio.to_thread(measures.looks, folder / measures.PICTURE_FILE, size)
    findings.loudness = await asyncio.to_thread(measures.loudness, folder / measures.SOUND_FILE)


async def _read_fingerprint(findings: Findings, extracted: Extracted) -> None:
    file = _require(extracted, extraction.FINGERPRINT, extracted.fingerprint, Findings.no_sound)
    findings.fingerprint = await asyncio.to_thread(extraction.read_fingerprint, file)


async def _read_bars(findings: Findings, extracted: Extracted) -> None:
    file = _require(extracted, extraction.BARS, extracted.bars, Findings.no_picture)
    findings.bars = await asyncio.to_thread(measures.bars, file)


NO_MODELS = Models()
"""Where nothing is configured."""
