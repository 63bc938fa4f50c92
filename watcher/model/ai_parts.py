"""What the templates of intelligent tasks ask for, part by part, and what has to be able to do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from watcher.model.ai_templates import AIRecognitionTemplate, AITemplate, Configure

Needed = Literal["text", "speech", "faces", "translation"]
"""Capabilities that parts need; what is not one of :data:`watcher.model.findings.Capability` nothing serves yet."""


@dataclass(frozen=True, slots=True)
class WantedPart:
    """One thing to look for: the model's name of it, its member of a template, and what it needs."""

    type: str
    member: str
    needs: Needed


RECOGNITION = (
    WantedPart("FaceRecognition", "face_configure", "faces"),
    WantedPart("OcrFullTextRecognition", "ocr_full_text_configure", "text"),
    WantedPart("OcrWordsRecognition", "ocr_words_configure", "text"),
    WantedPart("AsrFullTextRecognition", "asr_full_text_configure", "speech"),
    WantedPart("AsrWordsRecognition", "asr_words_configure", "speech"),
    WantedPart("TransTextRecognition", "translate_configure", "translation"),
)
"""Contract templates.md, section 11, and pipelines.md, section 11."""


def wanted_parts(template: AITemplate | object) -> tuple[WantedPart, ...]:
    """The parts of a template that are switched on, in the order of their results."""
    if not isinstance(template, AIRecognitionTemplate):
        return ()
    given = ((part, getattr(template, part.member)) for part in RECOGNITION)
    return tuple(part for part, configure in given if isinstance(configure, Configure) and configure.switch == "ON")
