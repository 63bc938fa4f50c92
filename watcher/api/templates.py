"""Create…Template, Modify…Template, Delete…Template, Describe…Templates, for all families (contract templates.md)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from watcher.api.base import Action, Body, Call, Rights, Service, decoded, not_there, page
from watcher.api.checks import buckets_of
from watcher.catalog import TemplateFacts
from watcher.errors import MediaError, Problem
from watcher.model.ai_templates import OUR_MEMBERS
from watcher.model.dress import WatermarkTemplate
from watcher.model.templates import TranscodeTemplate
from watcher.mps import wire
from watcher.mps.events import iso
from watcher.mps.families import TABLE, AnyTemplate, Family
from watcher.mps.faults import RequestError, fault_of
from watcher.mps.requests import (
    DescribeAdaptiveDynamicStreamingTemplates,
    DescribeTemplates,
    DescribeTranscodeTemplates,
    TemplateById,
)
from watcher.state.templates import TooManyTemplatesError

_DESCRIBE: dict[str, type[DescribeTemplates]] = {
    "transcode": DescribeTranscodeTemplates,
    "adaptive_dynamic_streaming": DescribeAdaptiveDynamicStreamingTemplates,
}
KINDS = ("Preset", "Custom")
_NOT_SHOWN = ("Encryption", "RecordFormat", *OUR_MEMBERS)
"""What clients have no place for in an answer: all but the second are ours, that one is of requests only."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A template of a family, with where it comes from."""

    definition: int
    template: AnyTemplate
    facts: TemplateFacts


def _may_name(call: Call[Any], template: AnyTemplate) -> None:
    """Templates can name objects too: subtitles, pictures."""
    for bucket in buckets_of(template):
        if not call.caller.may(bucket):
            raise RequestError("UnauthorizedOperation", f"this key pair may not name the bucket {bucket[:80]!r}")


async def _checked(service: Service, template: AnyTemplate) -> None:
    """The picture of a watermark has to be one."""
    if not isinstance(template, WatermarkTemplate) or template.image_template is None:
        return
    content = template.image_template.content
    try:
        async with service.probing:
            await service.worker.inspect_picture(content, f"watermark-{secrets.token_hex(8)}")
    except MediaError as error:
        message = f"ImageTemplate.ImageContent: is no picture that can be read: {error}"
        raise RequestError("InvalidParameterValue.ImageContent", message) from None


async def create(family: Family, service: Service, call: Call[AnyTemplate]) -> Body:
    """The definition is given by the state, and is never given again."""
    template = call.request
    _may_name(call, template)
    await _checked(service, template)
    try:
        made = await service.state.templates.create(family.name, _plain(template), family.limit)
    except TooManyTemplatesError as error:
        raise RequestError("LimitExceeded.TooMuchTemplate", str(error)) from None
    service.catalog.put_template(made)
    return {"Definition": made.definition, **_image_url(service, call, made.definition, template)}


def _plain(template: AnyTemplate) -> dict[str, Any]:
    return template.model_dump(mode="json", exclude_none=True)


def _image_url(service: Service, call: Call[Any], definition: int, template: AnyTemplate) -> Body:
    if not isinstance(template, WatermarkTemplate):
        return {}
    image = template.image_template is not None
    return {"ImageUrl": service.pictures.url(call.origin, "watermarks", str(definition)) if image else ""}


def _changeable(family: Family, service: Service, definition: int, code: str) -> _Found:
    """A template that a request made; presets and those of files can't be changed by one."""
    place = family.name, definition
    if place not in service.catalog.templates:
        if family.name == "watermark" and code != "InvalidParameterValue.ModifyDefaultTemplate":
            raise RequestError("ResourceNotFound", f"there is no watermark template {definition}")
        raise not_there("template", definition)
    facts = service.catalog.facts[place]
    if facts.preset:
        raise RequestError(code, f"Definition: {definition} is a preset, which stays as it is")
    if facts.origin:
        message = f"Definition: {definition} comes from {facts.origin}; change it there"
        raise RequestError("FailedOperation", message)
    return _Found(definition, service.catalog.templates[place], facts)


def _merged(stored: Any, given: Any) -> Any:
    """Members that are given replace those that are stored, at every depth; lists are replaced as a whole."""
    if isinstance(stored, Mapping) and isinstance(given, Mapping):
        return {**stored, **{key: _merged(stored.get(key), item) for key, item in given.items() if item is not None}}
    return given


async def modify(family: Family, service: Service, call: Call[Body]) -> Body:
    """Members that are left out stay as they are."""
    given = dict(call.request)
    definition = decoded(TemplateById, {"Definition": given.pop("Definition", None)}).definition
    found = _changeable(family, service, definition, "InvalidParameterValue.ModifyDefaultTemplate")
    if family.name == "watermark" and "Type" in given:
        raise fault_of([Problem("Type", "unknown field: the type of a watermark can't be changed", kind="unknown")])
    before = wire.encode(found.template.model_dump(exclude_none=True))
    template = decoded(family.model, _merged(before, given), family.codes)
    _may_name(call, template)
    await _checked(service, template)
    changed = await service.state.templates.replace(family.name, definition, _plain(template))
    if changed is None:
        raise not_there("template", definition)
    service.catalog.put_template(changed)
    return _image_url(service, call, definition, template)


async def delete(family: Family, service: Service, call: Call[TemplateById]) -> Body:
    """Sub-tasks that name it fail from now on."""
    definition = call.request.definition
    _changeable(family, service, definition, family.protected)
    if not await service.state.templates.delete(family.name, definition):
        raise not_there("template", definition)
    service.catalog.remove_template(family.name, definition)
    return {}


async def describe(family: Family, service: Service, call: Call[DescribeTemplates]) -> Body:
    """Own ones first, newest first, then the presets by number."""
    request = call.request
    if request.limit > family.page:
        message = f"Limit: {request.limit} is more than {family.page}"
        raise RequestError("InvalidParameterValue.Limit", message)
    _check_type(family, request)
    found = [
        _Found(definition, template, service.catalog.facts[name, definition])
        for (name, definition), template in service.catalog.templates.items()
        if name == family.name
    ]
    wanted = [item for item in found if _is_wanted(family, request, item)]
    wanted.sort(key=lambda item: (item.facts.preset, item.definition if item.facts.preset else -item.definition))
    shown = page(wanted, request.offset, request.limit)
    return {
        "TotalCount": len(wanted),
        family.list_key: [_item(family, service, call, item) for item in shown],
    }


def _check_type(family: Family, request: DescribeTemplates) -> None:
    allowed = ("image", "text", "svg") if family.name == "watermark" else KINDS
    if request.type not in (None, "", *allowed):
        message = f"Type: {request.type!r} is not one of {', '.join(allowed)}"
        raise RequestError("InvalidParameterValue.Type", message)


def _kind(family: Family, item: _Found) -> str:
    if isinstance(item.template, WatermarkTemplate):
        return item.template.type
    return "Preset" if item.facts.preset else "Custom"


def _is_wanted(family: Family, request: DescribeTemplates, item: _Found) -> bool:
    if request.definitions and item.definition not in request.definitions:
        return False
    if request.type and request.type != _kind(family, item):
        return False
    if request.name and request.name != item.template.name:
        return False
    if isinstance(request, DescribeAdaptiveDynamicStreamingTemplates) and request.pure_audio is not None:
        return bool(request.pure_audio == getattr(item.template, "pure_audio", 0))
    if isinstance(request, DescribeTranscodeTemplates) and isinstance(item.template, TranscodeTemplate):
        return _is_wanted_transcode(request, item.template)
    return True


def _is_wanted_transcode(request: DescribeTranscodeTemplates, template: TranscodeTemplate) -> bool:
    tehd = template.tehd_config.type if template.tehd_config else ""
    enhance = template.enhance_config
    video, audio = bool(enhance and enhance.video_enhance), bool(enhance and enhance.audio_enhance)
    of_enhance = {
        "VideoEnhance": video and not audio, "AudioEnhance": audio and not video, "AudioVideoEnhance": video and audio,
        "AnyEnhance": video or audio, "None": not video and not audio,
    }  # fmt: skip
    of_transcode = {
        "Common": not tehd and not (video or audio), "TEHD": bool(tehd), "Enhance": video or audio,
        "AudioVideoEnhance": video and audio,
    }  # fmt: skip
    of_both = {"Common": not tehd, "TEHD": bool(tehd)}
    return (
        request.container_type in (None, _container_type(template))
        and request.tehd_type in (None, "", tehd)
        and (request.enhance_type is None or of_enhance[request.enhance_type])
        and (request.transcode_type is None or of_transcode[request.transcode_type])
        and (not request.enhance_transcode_type or of_both[request.enhance_transcode_type])
    )


def _container_type(template: TranscodeTemplate) -> str:
    return "Video" if template.keeps_video else "PureAudio"


def _item(family: Family, service: Service, call: Call[Any], item: _Found) -> Body:
    body: Body = wire.encode(item.template.model_dump(exclude_none=True))
    if isinstance(item.template, WatermarkTemplate) and item.template.image_template is not None:
        image = body["ImageTemplate"]
        del image["ImageContent"]
        image.update(_image_url(service, call, item.definition, item.template))
    for member in _NOT_SHOWN:
        body.pop(member, None)
    if isinstance(item.template, TranscodeTemplate):
        body["ContainerType"] = _container_type(item.template)
    return {
        **body,
        # The model has the definition of a transcode template as a text, and all others as numbers.
        "Definition": str(item.definition) if family.name == "transcode" else item.definition,
        "Type": _kind(family, item),
        "CreateTime": iso(item.facts.create_time),
        "UpdateTime": iso(item.facts.update_time),
    }


def _actions(family: Family) -> list[Action]:
    filters = _DESCRIBE.get(family.name, DescribeTemplates)
    limit = frozenset({"Limit", "Definitions", "Type"})
    stem, rate = family.stem, family.rate
    return [
        Action(
            f"Create{stem}", rate, Rights.ADMIN, partial(_read, family.model, codes=family.codes),
            partial(create, family), family.model,
        ),
        Action(f"Modify{stem}", rate, Rights.ADMIN, lambda body: body, partial(modify, family)),
        Action(
            f"Delete{stem}", rate, Rights.ADMIN, partial(_read, TemplateById), partial(delete, family), TemplateById
        ),
        Action(
            f"Describe{stem}s", rate, Rights.READ, partial(_read, filters, codes=limit), partial(describe, family),
            filters,
        ),
    ]  # fmt: skip


def _read(model: type[Any], body: Body, codes: frozenset[str] = frozenset()) -> Any:
    return decoded(model, body, codes)


ACTIONS = tuple(action for family in TABLE.values() if family.rate for action in _actions(family))
