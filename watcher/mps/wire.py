"""Between the wire's PascalCase and the model's snake_case.

One pair of functions converts names; everything else follows from the types of the model. A mistake is
reported under the path the person wrote (``Trigger.CosFileUploadTrigger.Dir``), all mistakes at once.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from watcher import plugin
from watcher.errors import ConfigurationError, Kind, Problem

M = TypeVar("M", bound=BaseModel)

_SPECIAL = {
    "tehd_config": "TEHDConfig",
    "aws_sqs": "AwsSQS",
    "sqs_region": "SQSRegion",
    "sqs_queue_name": "SQSQueueName",
    "vod_input_info": "VODInputInfo",
    "vod_output_storage": "VODOutputStorage",
    "key_pts_list": "KeyPTSList",
    "x_pos": "XPos",
    "y_pos": "YPos",
}
_SPECIAL_BACK = {wire: name for name, wire in _SPECIAL.items()}
_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_SYNONYMS = {"libx264": "h264", "libx265": "h265", "libfdk_aac": "aac", "libmp3lame": "mp3"}
"""Codec names that stored presets report in place of the documented ones (templates.md, section 2)."""

NOT_SUPPORTED: dict[str, tuple[object, ...]] = {
    # workflow
    "SmartSubtitlesTask": (),
    "SmartEraseTask": (),
    "AIDubbingTask": (),
    "ResourceId": (),
    "VODOutputStorage": (),
    "VODInputInfo": (),
    # sub-tasks
    "BlindWatermark": (),
    "ExtInfo": (),
    "UserExtPara": (),
    "ChannelExtPara": (),
    "ExtendedParameter": (),
    "StdExtInfo": (),
    "Path": (),
    "SpekeDrm": (),
    "LineSpacing": (0,),
    "LineSpacingUnit": (0,),
    # templates
    "ContentAdaptStream": (0,),
    "Stereo3dType": ("side_by_side",),
    "ScenarioBased": (0,),
    "SceneType": ("normal",),
    "CompressType": ("standard_compress",),
    "TrackChannelInfo": (),
    # pictures
    "EraseConfig": (),
    "BlindWatermarkConfig": (),
    "BeautyConfig": (),
    "TransformConfig": (),
    "AiTryOnConfig": (),
    "AiPosterSuiteConfig": (),
    "CreateImageConfig": (),
    "AiCutoutConfig": (),
    "AiExpansionConfig": (),
    "AiStoryboardConfig": (),
    "UnderstandImageConfig": (),
    "ImageQualityConfig": (),
    "AiComposeConfig": (),
    "AiDecomposeConfig": (),
    "AddOnParameter": (),
    # enhancement that needs a trained model
    "AdvancedSuperResolutionConfig": (),
    "FaceEnhance": (),
    "SuperResolution": (),
    "Hdr": (),
    "ImageQualityEnhance": (),
    "ColorEnhance": (),
    "LowLightEnhance": (),
    "ScratchRepair": (),
    "DiffusionEnhance": (),
    "AiRestoration": (),
    "DiffusionEnhanceV2": (),
    "EnhanceSceneType": (),
    "Separate": (),
    "AudioEnhanceEdit": (),
}
"""Members of the MPS model that this version refuses by name, with the values that ask for nothing."""

_OURS = frozenset({
    "enabled", "accept_outputs", "max_running", "waveform_task_set", "command_task_set", "publish_first",
    "target_vmaf", "two_pass", "quality_report", "encryption", "stream_selects", "predrive_index",
})  # fmt: skip
"""Members that the model's clients do not know (the last one is computed): written only where they say something."""
_INTERNAL = frozenset({"trusted"})
"""Members of orders that are never of the wire."""

LONGEST_NAME = 64
"""Characters of a member's name that are looked at; there are none as long."""
_SECRET = frozenset({"notify_key", "simple_aes_drm"})
"""Members that are written empty: events and answers go to many."""
_HIDDEN = _OURS | _INTERNAL

_WHAT_TO_DO = {
    "S3SecretId": "put the key pair into the settings, under `storages`, and leave it out here",
    "S3SecretKey": "put the key pair into the settings, under `storages`, and leave it out here",
    "AwsSQS": "name the queue in the settings, as a source of type sqs, and leave it out here",
}


@lru_cache(maxsize=4096)
def to_wire(name: str) -> str:
    """``web_vtt_path`` → ``WebVttPath``."""
    return _SPECIAL.get(name) or "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def from_wire(name: str) -> str:
    """``WebVttPath`` → ``web_vtt_path``; a name that is not the wire's own spelling comes back unchanged."""
    if len(name) > LONGEST_NAME:
        return name
    snake = _SPECIAL_BACK.get(name) or _BOUNDARY.sub("_", name).lower()
    return snake if to_wire(snake) == name else name


def encode(value: Any) -> Any:
    """A model's plain data with wire names."""
    if isinstance(value, dict):
        return {
            to_wire(key): _blank(key, item) if key in _SECRET else encode(item)
            for key, item in value.items()
            if not (key in _HIDDEN and (key in _INTERNAL or not item))
        }
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return encode(value.model_dump()) if isinstance(value, BaseModel) else value


def _blank(key: str, item: Any) -> Any:
    if not isinstance(item, dict):
        return item and ""
    return {to_wire(name): encode(value) if name == "uri" else "" for name, value in item.items()}


def decode(model: type[M], body: object, path: str = "") -> M:
    """The model that a wire body describes; raises ConfigurationError with a problem per mistake."""
    problems: list[Problem] = []
    plain = _rename(body, path, problems)
    if problems:
        raise ConfigurationError(problems)
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise ConfigurationError(_problem(item, path) for item in error.errors(include_url=False)) from None


def _rename(value: object, path: str, problems: list[Problem]) -> object:
    if isinstance(value, dict):
        renamed: dict[str, object] = {}
        for key, item in value.items():
            place = _join(path, key)
            if item is None:  # absent and null mean the same in the MPS model
                continue
            if key in NOT_SUPPORTED:
                if item not in ("", [], {}, *NOT_SUPPORTED[key]) and not _is_off(item):
                    problems.append(Problem(place, "is part of the MPS model, but this version does not support it"))
                continue
            if key in _WHAT_TO_DO and not (key == "AwsSQS" and path.endswith("TaskNotifyConfig")):
                problems.append(Problem(place, _WHAT_TO_DO[key]))
                continue
            name = from_wire(str(key))
            if name == key or name in _INTERNAL:
                problems.append(Problem(place, _unknown(str(key)), kind="unknown"))
                continue
            if key == "Codec" and isinstance(item, str):
                item = _SYNONYMS.get(item, item)  # noqa: PLW2901
            renamed[name] = _rename(item, place, problems)
        return renamed
    if isinstance(value, list):
        return [_rename(item, _join(path, index), problems) for index, item in enumerate(value)]
    return value


def _is_off(item: object) -> bool:
    """Whether a group says of itself that it is off."""
    return isinstance(item, dict) and item.get("Switch") == "OFF"


def _unknown(key: str) -> str:
    suggestion = to_wire(key) if key.islower() or "_" in key else key
    return "unknown field" + (f"; names are written like {suggestion}" if suggestion != key else "")


def _join(path: str, part: object) -> str:
    if isinstance(part, int):
        return f"{path}[{part}]"
    if path.endswith(":"):  # the name of a file
        return f"{path} {part}"
    return f"{path}.{part}" if path else str(part)


def _problem(error: Any, path: str) -> Problem:
    for part in error["loc"]:
        path = _join(path, part if isinstance(part, int) else to_wire(str(part)))
    path = path.removesuffix(":")
    if error["type"] == "extra_forbidden":
        return Problem(path, "unknown field", kind="unknown")
    if error["type"] == "missing":
        return Problem(path, "is required", kind="missing")
    kind: Kind = "type" if error["type"].endswith(("_type", "_parsing", "_from_float")) else "value"
    return Problem(path, plugin.sentence(error), kind=kind)
