"""Templates of the intelligent tasks: review, analysis, recognition, quality control (templates.md, sections 9–12)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from watcher.model.base import Value

Toggle = Literal["ON", "OFF"]
Confidence = Annotated[int, Field(ge=0, le=100)]
Labels = Annotated[tuple[str, ...], Field(max_length=100)]
ViolenceLabel = Literal[
    "guns", "crowd", "bloody", "police", "banners", "militant", "explosion", "terrorists", "scenario"
]
OwnTags = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=16)], ...], Field(max_length=10)]


class _Named(Value):
    name: str = Field(default="", max_length=64)
    comment: str = Field(default="", max_length=256)


class Check(Value):
    """A check with its thresholds. ``review_confidence`` 0 … ``block_confidence`` 100, in percent."""

    switch: Toggle
    block_confidence: Confidence | None = None
    review_confidence: Confidence | None = None

    @model_validator(mode="after")
    def _are_in_order(self) -> Check:
        block, review = self.block_confidence, self.review_confidence
        if block is not None and review is not None and review > block:
            raise ValueError("ReviewConfidence can't be over BlockConfidence")
        return self


class TextCheck(Check):
    """Keywords in speech or in text on the screen."""


class PornImageCheck(Check):
    """Pictures; no label means all of them."""

    label_set: tuple[Literal["porn", "vulgar", "intimacy", "sexy"], ...] = ()


class TerrorismImageCheck(Check):
    """As :class:`PornImageCheck`."""

    label_set: tuple[ViolenceLabel, ...] = ()


class PoliticalImageCheck(Check):
    """As :class:`PornImageCheck`."""

    label_set: tuple[
        Literal[
            "violation_photo", "politician", "entertainment", "sport", "entrepreneur", "scholar", "celebrity",
            "military",
        ],
        ...,
    ] = ()  # fmt: skip


class OwnCheck(Check):
    """Samples of the user that have one of these tags; none means all."""

    label_set: OwnTags = ()


class PornConfigure(Value):
    img_review_info: PornImageCheck | None = None
    asr_review_info: TextCheck | None = None
    ocr_review_info: TextCheck | None = None


class TerrorismConfigure(Value):
    img_review_info: TerrorismImageCheck | None = None
    ocr_review_info: TextCheck | None = None


class PoliticalConfigure(Value):
    img_review_info: PoliticalImageCheck | None = None
    asr_review_info: TextCheck | None = None
    ocr_review_info: TextCheck | None = None


class ProhibitedConfigure(Value):
    asr_review_info: TextCheck | None = None
    ocr_review_info: TextCheck | None = None


class UserDefineConfigure(Value):
    face_review_info: OwnCheck | None = None
    asr_review_info: OwnCheck | None = None
    ocr_review_info: OwnCheck | None = None


class ContentReviewTemplate(_Named):
    """Contract templates.md, section 9."""

    porn_configure: PornConfigure | None = None
    terrorism_configure: TerrorismConfigure | None = None
    political_configure: PoliticalConfigure | None = None
    prohibited_configure: ProhibitedConfigure | None = None
    user_define_configure: UserDefineConfigure | None = None


class Configure(Value):
    """Something that is on or off."""

    switch: Toggle


class DescriptionConfigure(Configure):
    """``language``: what it is written in, in words that a model understands; empty: that of the film."""

    language: str = Field(default="", max_length=32)


class AIAnalysisTemplate(_Named):
    """Contract templates.md, section 10; the last four members are ours: the model has them as presets only."""

    classification_configure: Configure | None = None
    tag_configure: Configure | None = None
    cover_configure: Configure | None = None
    frame_tag_configure: Configure | None = None
    highlight_configure: Configure | None = None
    segment_configure: Configure | None = None
    head_tail_configure: Configure | None = None
    description_configure: DescriptionConfigure | None = None


class FaceConfigure(Configure):
    """``score`` is the least similarity of a match, in percent."""

    score: Annotated[float, Field(ge=0, le=100)] = 95.0
    default_library_label_set: tuple[Literal["entertainment", "sport", "politician"], ...] = ()
    user_define_library_label_set: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=16)], ...], Field(max_length=100)
    ] = ()
    face_library: Literal["Default", "UserDefine", "All"] = "All"


class WordsConfigure(Configure):
    """Words of the library that have one of these tags; none means all."""

    label_set: OwnTags = ()


class AsrFullTextConfigure(Configure):
    """``subtitle_format`` empty: no file is made."""

    subtitle_format: Literal["", "vtt", "srt"] = ""
    source_language: str = Field(default="", max_length=16)


class TranslateConfigure(AsrFullTextConfigure):
    destination_language: str = Field(default="", max_length=16)


class ObjectConfigure(Configure):
    """``label_set``: only objects of these names; none means all. ``score``: the least confidence, in percent."""

    label_set: Labels = ()
    score: Annotated[float, Field(ge=0, le=100)] = 50.0


class AIRecognitionTemplate(_Named):
    """Contract templates.md, section 11; ``object_configure`` is ours: the model has results of it only."""

    face_configure: FaceConfigure | None = None
    ocr_full_text_configure: Configure | None = None
    ocr_words_configure: WordsConfigure | None = None
    asr_full_text_configure: AsrFullTextConfigure | None = None
    asr_words_configure: WordsConfigure | None = None
    translate_configure: TranslateConfigure | None = None
    object_configure: ObjectConfigure | None = None


PICTURE_ITEMS = (
    "LowEvaluation", "Mosaic", "CrashScreen", "Blur", "Jitter", "Noise", "QRCode", "BarCode", "AppletCode",
    "BlackWhiteEdge", "SolidColorScreen", "LowLighting", "HighLighting",
)  # fmt: skip
SOUND_ITEMS = ("AudioEvaluation", "NoVoice", "LowVoice", "HighVoice", "AudioNoise")
OUR_ITEMS = ("BlackScreen", "FreezeScreen", "Clipping", "ColorBars")
"""Anomalies that the model has no type for."""
FORMAT_ITEMS = (
    "VideoResolutionChanged", "AudioSampleRateChanged", "AudioChannelsChanged", "ParameterSetsChanged",
    "DarOrSarInvalid", "TimestampFallback", "DtsJitter", "PtsJitter", "AACDurationDeviation", "AudioDroppingFrames",
    "VideoDroppingFrames", "AVTimestampInterleave", "PtsLessThanDts", "ReceiveFpsJitter", "ReceiveFpsTooSmall",
    "FpsJitter", "StreamOpenFailed", "StreamEnd", "StreamParseFailed", "VideoFirstFrameNotIdr", "StreamNALUError",
    "TsStreamNoAud", "AudioStreamLack", "VideoStreamLack", "LackAudioRecover", "LackVideoRecover",
    "VideoBitrateOutofRange", "AudioBitrateOutofRange", "VideoDecodeFailed", "AudioDecodeFailed", "AudioOutOfPhase",
    "VideoDuplicatedFrame", "AudioDuplicatedFrame", "VideoRotation", "TsMultiPrograms", "Mp4InvalidCodecFourcc",
    "HLSBadM3u8Format", "HLSInvalidMasterM3u8", "HLSInvalidMediaM3u8", "HLSMasterM3u8Recommended",
    "HLSMediaM3u8Recommended", "HLSMediaM3u8DiscontinuityExist", "HLSMediaSegmentsStreamNumChange",
    "HLSMediaSegmentsPTSJitterDeviation", "HLSMediaSegmentsDTSJitterDeviation", "TimecodeTrackExist",
)  # fmt: skip


class QualityControlItem(Value):
    """One anomaly to look for. ``interval_time`` and ``duration`` are in milliseconds."""

    type: str
    switch: Toggle = "ON"
    sampling: Literal["Time"] = "Time"
    interval_time: int = Field(default=0, ge=0)
    duration: int = Field(default=0, ge=0)
    threshold: str = Field(default="", max_length=64)

    @model_validator(mode="after")
    def _is_known(self) -> QualityControlItem:
        if self.type not in (*PICTURE_ITEMS, *SOUND_ITEMS, *FORMAT_ITEMS, *OUR_ITEMS):
            raise ValueError(f"Type {self.type!r} is not one of the model's (templates.md, section 12)")
        if self.threshold and not re.fullmatch(r"\d{1,3}(\.\d+)?", self.threshold):
            raise ValueError(f"Threshold {self.threshold!r} must be a number from 0 to 100")
        return self


class TimeSpotCheck(Value):
    """Look at ``check_duration`` seconds, skip, and so on."""

    check_duration: int = Field(ge=10, le=86_400)
    check_interval: int = Field(default=10, ge=10, le=3600)
    skip_duration: int | None = Field(default=None, ge=1, le=1800)
    circles_number: int = Field(default=0, ge=0, le=1000)


class QualityControlStrategy(Value):
    strategy_type: Literal["TimeSpotCheck"] = "TimeSpotCheck"
    time_spot_check: TimeSpotCheck | None = None


class QualityControlTemplate(Value):
    """Contract templates.md, section 12."""

    name: str = Field(min_length=1, max_length=64)
    comment: str = Field(default="", max_length=256)
    quality_control_item_set: Annotated[tuple[QualityControlItem, ...], Field(min_length=1, max_length=200)]
    record_format: Literal["", "PNG"] = ""
    strategy: QualityControlStrategy | None = None


OUR_MEMBERS = (
    "HighlightConfigure", "SegmentConfigure", "HeadTailConfigure", "DescriptionConfigure", "ObjectConfigure",
)  # fmt: skip
"""Members of templates that the model does not have."""

AITemplate = ContentReviewTemplate | AIAnalysisTemplate | AIRecognitionTemplate | QualityControlTemplate

AI_FAMILIES: dict[str, type[AITemplate]] = {
    "content_review": ContentReviewTemplate,
    "ai_analysis": AIAnalysisTemplate,
    "ai_recognition": AIRecognitionTemplate,
    "quality_control": QualityControlTemplate,
}
"""The template of each family of intelligent tasks."""
