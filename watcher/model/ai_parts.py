"""What the templates of intelligent tasks ask for, part by part, and what has to be able to do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from watcher.model.ai_templates import (
    OUR_ITEMS,
    AIAnalysisTemplate,
    AIRecognitionTemplate,
    AITemplate,
    Check,
    Configure,
    ContentReviewTemplate,
    QualityControlTemplate,
)
from watcher.model.findings import Capability

Needed = Capability | Literal["measures", "fingerprint", "bars", "diagnosis"]
"""What parts need; the last four come out of the file itself."""
NO_MODEL: tuple[Needed, ...] = ("measures", "fingerprint", "bars", "diagnosis")


@dataclass(frozen=True, slots=True)
class WantedPart:
    """One thing to look for: the model's name of it, its member of a template, and what it needs.

    ``also`` is what it cannot do without either; ``uses`` is what makes it better where it is there.
    """

    type: str
    member: str
    needs: Needed
    also: tuple[Needed, ...] = ()
    uses: tuple[Needed, ...] = ()

    @property
    def all_needs(self) -> tuple[Needed, ...]:
        """Without which it can't be done."""
        return (self.needs, *self.also)


RECOGNITION = (
    WantedPart("FaceRecognition", "face_configure", "faces"),
    WantedPart("OcrFullTextRecognition", "ocr_full_text_configure", "text"),
    WantedPart("OcrWordsRecognition", "ocr_words_configure", "text"),
    WantedPart("AsrFullTextRecognition", "asr_full_text_configure", "speech"),
    WantedPart("AsrWordsRecognition", "asr_words_configure", "speech"),
    WantedPart("TransTextRecognition", "translate_configure", "translation", also=("speech",)),
    WantedPart("ObjectRecognition", "object_configure", "objects"),
)
"""Contract templates.md, section 11, and pipelines.md, section 11."""


REVIEW = (
    WantedPart("Porn", "porn_configure.img_review_info", "nudity"),
    WantedPart("Terrorism", "terrorism_configure.img_review_info", "violence"),
    WantedPart("Political", "political_configure.img_review_info", "faces"),
    WantedPart("Porn.Asr", "porn_configure.asr_review_info", "speech"),
    WantedPart("Porn.Ocr", "porn_configure.ocr_review_info", "text"),
    WantedPart("Political.Asr", "political_configure.asr_review_info", "speech"),
    WantedPart("Political.Ocr", "political_configure.ocr_review_info", "text"),
    WantedPart("Terrorism.Ocr", "terrorism_configure.ocr_review_info", "text"),
    WantedPart("Prohibited.Asr", "prohibited_configure.asr_review_info", "speech"),
    WantedPart("Prohibited.Ocr", "prohibited_configure.ocr_review_info", "text"),
)
"""Contract pipelines.md, section 9."""


ANALYSIS = (
    WantedPart("Classification", "classification_configure", "vision"),
    WantedPart("Cover", "cover_configure", "measures", also=("bars",), uses=("faces",)),
    WantedPart("Tag", "tag_configure", "vision"),
    WantedPart("FrameTag", "frame_tag_configure", "vision"),
    WantedPart("Highlight", "highlight_configure", "measures", uses=("speech",)),
    WantedPart("SegmentRecognition", "segment_configure", "cuts", also=("measures",)),
    WantedPart("HeadTailRecognition", "head_tail_configure", "fingerprint"),
    WantedPart("Description", "description_configure", "description", uses=("speech",)),
)
"""Contract templates.md, section 10, and pipelines.md, section 10."""


def member_of(template: object, path: str) -> object | None:
    """A member of a template, or of a member; None where it is not given."""
    found: object | None = template
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


DIAGNOSED: dict[str, tuple[str, str]] = {
    "VideoDecodeFailed": ("DecodeException", "Error"),
    "AudioDecodeFailed": ("DecodeException", "Error"),
    "VideoResolutionChanged": ("DecodeParamException", "Warning"),
    "AudioSampleRateChanged": ("DecodeParamException", "Warning"),
    "AudioChannelsChanged": ("DecodeParamException", "Warning"),
    "TimestampFallback": ("TimeStampException", "Error"),
    "PtsLessThanDts": ("TimeStampException", "Error"),
    "PtsJitter": ("TimeStampException", "Warning"),
    "DtsJitter": ("TimeStampException", "Warning"),
    "AVTimestampInterleave": ("TimeStampException", "Warning"),
    "VideoDroppingFrames": ("FrameException", "Error"),
    "AudioDroppingFrames": ("FrameException", "Error"),
    "FpsJitter": ("FrameException", "Warning"),
    "VideoFirstFrameNotIdr": ("StreamAbnormalCharacteristics", "Warning"),
    "VideoRotation": ("StreamInfo", "Info"),
}
"""Faults of the streams that are looked for, with the category and the severity that they are told with; which type is
of which category is not in the model, and ours."""
DETECTED = frozenset({
    "LowEvaluation", "Mosaic", "Blur", "Noise", "QRCode", "BarCode", "BlackWhiteEdge", "SolidColorScreen",
    "LowLighting", "HighLighting", "NoVoice", "LowVoice", "HighVoice", "AudioStreamLack", "VideoStreamLack", *OUR_ITEMS,
    *DIAGNOSED,
})  # fmt: skip
"""The items of quality control that there is a detector for."""


_PARTS: dict[type, tuple[WantedPart, ...]] = {
    AIRecognitionTemplate: RECOGNITION, ContentReviewTemplate: REVIEW, AIAnalysisTemplate: ANALYSIS,
}  # fmt: skip


def unsupported(template: AITemplate | object) -> list[str]:
    """What a template asks for and nothing can do, in sentences."""
    if isinstance(template, AIRecognitionTemplate):
        faces = template.face_configure
        if faces is not None and faces.switch == "ON" and faces.face_library == "Default":
            return ["there is no default library of persons; set FaceConfigure.FaceLibrary to UserDefine or All"]
        return []
    if isinstance(template, ContentReviewTemplate):
        paths = [f"user_define_configure.{name}_review_info" for name in ("face", "asr", "ocr")]
        checks = [member_of(template, path) for path in paths]
        if any(isinstance(check, Check) and check.switch == "ON" for check in checks):
            return ["UserDefineConfigure has no result in the model; give words and persons to the other checks"]
        return []
    if not isinstance(template, QualityControlTemplate):
        return []
    wanted = [item.type for item in template.quality_control_item_set if item.switch == "ON"]
    found = [f"nothing detects {name} in this version; switch it off" for name in wanted if name not in DETECTED]
    if template.strategy is not None:
        found.append("Strategy is part of the MPS model, but this version looks at all of a film")
    if template.record_format:
        found.append("RecordFormat is part of the MPS model, but this version keeps no pictures of what it finds")
    return found


def wanted_parts(template: AITemplate | object) -> tuple[WantedPart, ...]:
    """The parts of a template that are switched on, in the order of their results."""
    if isinstance(template, QualityControlTemplate):
        wanted = {item.type for item in template.quality_control_item_set if item.switch == "ON"}
        also: tuple[Needed, ...] = ("codes",) if wanted & {"QRCode", "BarCode"} else ()
        also += ("bars",) if "ColorBars" in wanted else ()
        also += ("diagnosis",) if wanted & DIAGNOSED.keys() else ()
        return (WantedPart("QualityControl", "quality_control_item_set", "measures", also),)
    known = next((parts for kind, parts in _PARTS.items() if isinstance(template, kind)), ())
    given = ((part, member_of(template, part.member)) for part in known)
    return tuple(part for part, check in given if isinstance(check, Configure | Check) and check.switch == "ON")
