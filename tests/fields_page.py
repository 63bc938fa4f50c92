"""Writes ``docs/fields.md``: every field of the media side of the model, and its state.

``python -m tests.fields_page > docs/fields.md``; a test compares the page with what this prints.
"""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from watcher.model import audio, dress, enhance, inputs, resources, templates, video
from watcher.mps import wire

HEAD = """# Fields

Every field of sub-tasks and templates that is accepted, and every one that is refused by name. What is accepted does
something: `tests/integration/test_fields.py` changes each field and sees the output change. The fields marked *ours*
are not part of the MPS model. This page is made from the code (`python -m tests.fields_page > docs/fields.md`).
"""

OURS = {
    "TargetVmaf", "TwoPass", "QualityReport", "Encryption", "PublishFirst", "WaveformTaskSet", "CommandTaskSet",
}  # fmt: skip

MODELS: list[tuple[str, list[type[BaseModel]]]] = [
    ("Sub-tasks", [
        inputs.MediaProcessTask, inputs.TranscodeInput, inputs.OverrideTranscodeParameter, inputs.AnimatedGraphicInput,
        inputs.SnapshotByTimeOffsetInput, inputs.SampleSnapshotInput, inputs.ImageSpriteInput,
        inputs.AdaptiveDynamicStreamingInput, inputs.WaveformInput, inputs.CommandInput, inputs.AiRecognitionInput,
        inputs.ContentReviewInput,
        inputs.AiAnalysisInput,
        inputs.QualityControlInput,
    ]),
    ("Templates", [
        templates.TranscodeTemplate, video.VideoTemplate, video.SegmentSpecificInfo, video.TehdConfig,
        audio.AudioTemplate, enhance.VideoEnhance, enhance.AudioEnhance, templates.AnimatedGraphicTemplate,
        templates.SnapshotByTimeOffsetTemplate, templates.SampleSnapshotTemplate, templates.ImageSpriteTemplate,
        templates.AdaptiveDynamicStreamingTemplate, templates.AdaptiveStreamTemplate, templates.WaveformTemplate,
        dress.WatermarkTemplate, dress.TemplateImage, dress.WatermarkText, dress.WatermarkSvg,
    ]),
    ("Shared inputs", [
        dress.WatermarkInput, dress.RawWatermarkParameter, dress.MosaicInput, dress.HeadTailParameter,
        dress.SubtitleTemplate, dress.AddOnSubtitle, dress.AddOnAudio, dress.DrmInfo, dress.SimpleAesDrm,
        resources.MediaInputInfo, resources.NumberFormat,
    ]),
]  # fmt: skip


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for title, models in MODELS:
        lines.append(f"## {title}\n")
        for model in models:
            lines += _table(model)
    lines += ["## Refused by name\n", "Part of the MPS model, and not supported. A file that uses one is refused with "]
    lines[-1] += "its path; null, empty and the values in brackets ask for nothing and are fine.\n"
    for name, neutral in sorted(wire.NOT_SUPPORTED.items()):
        lines.append(f"- `{name}`" + (f" ({', '.join(map(repr, neutral))})" if neutral else ""))
    return "\n".join(lines) + "\n"


def _table(model: type[BaseModel]) -> list[str]:
    lines = [f"### {model.__name__}\n"]
    ours = (model.__doc__ or "").startswith("Ours")
    lines.append("*Ours.*\n" if ours else "")
    lines += ["| field | values | default |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        wired = wire.to_wire(name)
        mark = " *ours*" if wired in OURS else ""
        lines.append(f"| `{wired}`{mark} | {_values(field)} | {_default(field)} |")
    return [line for line in lines if line] + [""]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if value in (None, "", ()) else f"`{value}`"


def _values(field: FieldInfo) -> str:
    bounds = _bounds(field.metadata)
    return (_type(field.annotation) + (f" {bounds}" if bounds else "")).replace("|", "\\|")


def _bounds(metadata: list[Any]) -> str:
    parts: list[str] = []
    for item in metadata:
        for kind, sign in ((annotated_types.Ge, "≥"), (annotated_types.Gt, ">"), (annotated_types.Le, "≤")):
            if isinstance(item, kind):
                parts.append(f"{sign} {getattr(item, kind.__name__.lower())}")
        if isinstance(item, annotated_types.MaxLen):
            parts.append(f"at most {item.max_length}")
    return ", ".join(parts)


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        found = _bounds([m for item in arguments[1:] for m in getattr(item, "metadata", [item])])
        return _type(arguments[0]) + (f" {found}" if found else "")
    if origin is Literal:
        return " ".join(f"`{value}`" for value in arguments if value != "")
    if origin in (Union, types.UnionType):
        return " or ".join(_type(item) for item in arguments if item is not type(None))
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    return str(getattr(annotation, "__name__", annotation))


if __name__ == "__main__":
    print(page(), end="")
