"""The families of templates as the API has them (contract templates.md, section 1)."""

from __future__ import annotations

from dataclasses import dataclass

from watcher.model.ai_templates import AI_FAMILIES, AITemplate
from watcher.model.templates import FAMILIES, Template

AnyTemplate = Template | AITemplate


@dataclass(frozen=True, slots=True)
class Family:
    """``stem`` is that of its four actions, ``limit`` how many may be made, ``rate`` calls a second of each action.

    ``codes`` are the fields that have an ``InvalidParameterValue`` of their own.
    """

    name: str
    model: type[AnyTemplate]
    stem: str
    limit: int = 0
    rate: int = 0
    page: int = 100
    codes: frozenset[str] = frozenset()
    protected: str = "InvalidParameterValue"
    """The code for a preset that somebody wants to delete."""

    @property
    def list_key(self) -> str:
        """The member that holds templates, in answers and in files."""
        return f"{self.stem}Set"


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PICTURE = _codes(
    "Comment Format Fps Name Quality Resolution Width Height FillType SampleType SampleInterval RowCount ColumnCount"
)
_DEFAULT = "InvalidParameterValue.DeleteDefaultTemplate"
_DEFINITION = "InvalidParameterValue.Definition"

_TABLE = (
    Family(
        "transcode", FAMILIES["transcode"], "TranscodeTemplate", 1000, 100,
        codes=_codes(
            "AudioBitrate AudioChannel AudioCodec AudioSampleRate Container Fps Name RemoveAudio RemoveVideo "
            "Resolution ResolutionAdaptive SampleRate TEHDType Type VideoBitrate VideoCodec"
        ),
        protected=_DEFINITION,
    ),
    Family("animated_graphic", FAMILIES["animated_graphic"], "AnimatedGraphicsTemplate", 16, 100, codes=_PICTURE),
    Family(
        "snapshot_by_time_offset", FAMILIES["snapshot_by_time_offset"], "SnapshotByTimeOffsetTemplate", 16, 100,
        codes=_PICTURE,
    ),
    Family("sample_snapshot", FAMILIES["sample_snapshot"], "SampleSnapshotTemplate", 16, 100, codes=_PICTURE),
    Family("image_sprite", FAMILIES["image_sprite"], "ImageSpriteTemplate", 16, 100, codes=_PICTURE),
    Family(
        "watermark", FAMILIES["watermark"], "WatermarkTemplate", 1000, 100,
        codes=_codes(
            "CoordinateOrigin Height ImageContent ImageTemplate RepeatType SvgTemplate SvgTemplateHeight "
            "SvgTemplateWidth TextAlpha TextTemplate Type Width XPos YPos Comment Name"
        ),
        protected=_DEFINITION,
    ),
    Family(
        "adaptive_dynamic_streaming", FAMILIES["adaptive_dynamic_streaming"], "AdaptiveDynamicStreamingTemplate",
        100, 20,
    ),
    Family(
        "content_review", AI_FAMILIES["content_review"], "ContentReviewTemplate", 50, 10, 50,
        codes=_codes("BlockConfidence ReviewConfidence LabelSet Switch Name Comment"), protected=_DEFAULT,
    ),
    Family(
        "ai_analysis", AI_FAMILIES["ai_analysis"], "AIAnalysisTemplate", 50, 10,
        codes=_codes("ClassifcationConfigure TagConfigure CoverConfigure FrameTagConfigure Name Comment"),
        protected=_DEFAULT,
    ),
    Family(
        "ai_recognition", AI_FAMILIES["ai_recognition"], "AIRecognitionTemplate", 50, 10, 50,
        codes=_codes(
            "DefaultLibraryLabelSet UserDefineLibraryLabelSet DestinationLanguage SourceLanguage FaceLibrary FaceScore "
            "LabelSet ObjectLibrary SubtitleFormat Switch Name Comment"
        ),
        protected=_DEFAULT,
    ),
    Family(
        "quality_control", AI_FAMILIES["quality_control"], "QualityControlTemplate", 50, 20,
        codes=_codes("EmptyDetectItem UnknownCategory"),
    ),
    Family("waveform", FAMILIES["waveform"], "WaveformTemplate"),
)  # fmt: skip

TABLE = {family.name: family for family in _TABLE}
"""All families, by the name of their kind of sub-task. The last one is ours, and for files only."""
