"""Word and person samples (contract api.md, section 10)."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import replace

from watcher.api.base import Body, Call, Rights, Service, action
from watcher.errors import MediaError
from watcher.model.samples import Person, Word
from watcher.mps.events import iso
from watcher.mps.faults import RequestError
from watcher.mps.requests import (
    CreatePersonSample,
    CreateWordSamples,
    DeleteWordSamples,
    DescribePersonSamples,
    DescribeWordSamples,
    ModifyPersonSample,
    ModifyWordSample,
    PersonById,
)
from watcher.state.samples import FaceKnownError, LastFaceError, NoSuchSampleError

SMALLEST_FACE = 200
"""Pixels that each side of a picture has at least."""


async def create_word_samples(service: Service, call: Call[CreateWordSamples]) -> Body:
    """A word that is there already gets the usages and tags besides its own."""
    words = [(word.keyword, word.tags) for word in call.request.words]
    await service.state.words.add(words, call.request.usages)
    return {}


async def modify_word_sample(service: Service, call: Call[ModifyWordSample]) -> Body:
    request = call.request

    def change(word: Word) -> Word:
        tags = request.tag_operation_info.apply(word.tags) if request.tag_operation_info else word.tags
        return replace(word, usages=request.usages or word.usages, tags=tags)

    try:
        await service.state.words.change(request.keyword, change)
    except NoSuchSampleError as error:
        raise RequestError("ResourceNotFound.Word", f"Keyword: {error}") from None
    return {}


async def delete_word_samples(service: Service, call: Call[DeleteWordSamples]) -> Body:
    """Words that are not there are none of those that are deleted."""
    await service.state.words.remove(call.request.keywords)
    return {}


async def describe_word_samples(service: Service, call: Call[DescribeWordSamples]) -> Body:
    request = call.request

    def wanted(word: Word) -> bool:
        return (
            (not request.keywords or word.keyword in request.keywords)
            and (not request.usages or bool(set(request.usages) & set(word.usages)))
            and (not request.tags or bool(set(request.tags) & set(word.tags)))
        )

    found = await service.state.words.page(wanted, request.offset, request.limit)
    return {
        "TotalCount": found.total,
        "WordSet": [
            {
                "Keyword": word.keyword,
                "TagSet": list(word.tags),
                "UsageSet": list(word.usages),
                "CreateTime": iso(word.create_time),
                "UpdateTime": iso(word.update_time),
            }
            for word in found.items
        ],
    }


async def create_person_sample(service: Service, call: Call[CreatePersonSample]) -> Body:
    request = call.request
    pictures, failures = await _faces(service, request.face_contents)
    person = Person("", request.name, request.description, request.usages, request.tags)
    try:
        made, known = await service.state.persons.create(person, [data for _, data in pictures])
    except FaceKnownError as error:
        raise RequestError("InvalidParameterValue.FaceDuplicate", f"FaceContents: {error}") from None
    return _person_answer(service, call.origin, made, failures + _duplicates(pictures, known))


async def modify_person_sample(service: Service, call: Call[ModifyPersonSample]) -> Body:
    request = call.request
    faces = request.face_operation_info
    pictures, failures = await _faces(service, faces.face_contents if faces else ())

    def change(person: Person) -> Person:
        tags = request.tag_operation_info.apply(person.tags) if request.tag_operation_info else person.tags
        return replace(
            person,
            name=request.name or person.name,
            description=person.description if request.description is None else request.description,
            usages=request.usages or person.usages,
            tags=tags,
        )

    try:
        made, known = await service.state.persons.change(
            request.person_id,
            change,
            add=[data for _, data in pictures],
            remove=faces.face_ids if faces else (),
            reset=faces is not None and faces.type == "reset",
        )
    except NoSuchSampleError as error:
        raise RequestError("ResourceNotFound.Person", str(error)) from None
    except FaceKnownError as error:
        raise RequestError("InvalidParameterValue.FaceDuplicate", f"FaceContents: {error}") from None
    except LastFaceError as error:
        raise RequestError("InvalidParameterValue", f"FaceOperationInfo: {error}") from None
    return _person_answer(service, call.origin, made, failures + _duplicates(pictures, known))


async def delete_person_sample(service: Service, call: Call[PersonById]) -> Body:
    if not await service.state.persons.remove(call.request.person_id):
        raise RequestError("ResourceNotFound.Person", f"PersonId: there is no person {call.request.person_id!r}")
    return {}


async def describe_person_samples(service: Service, call: Call[DescribePersonSamples]) -> Body:
    """There is no library of persons besides the user's own."""
    request = call.request
    if request.type == "Default":
        return {"TotalCount": 0, "PersonSet": []}

    def wanted(person: Person) -> bool:
        return (
            (not request.person_ids or person.person_id in request.person_ids)
            and (not request.names or person.name in request.names)
            and (not request.tags or bool(set(request.tags) & set(person.tags)))
        )

    found = await service.state.persons.page(wanted, request.offset, request.limit)
    return {"TotalCount": found.total, "PersonSet": [_person(service, call.origin, person) for person in found.items]}


async def _faces(service: Service, contents: Sequence[str]) -> tuple[list[tuple[int, bytes]], list[Body]]:
    """The pictures that can be used, with their positions, and what is wrong with the others.

    Raises RequestError when there are some and none can be used.
    """
    found: list[tuple[int, bytes]] = []
    failures: list[Body] = []
    for index, content in enumerate(contents):
        data = base64.b64decode(content)
        try:
            async with service.probing:
                width, height = await service.worker.inspect_picture(data, f"face-{secrets.token_hex(8)}")
        except MediaError as error:
            failures.append(_failure(index, "InvalidParameterValue.PicFormatError", str(error)))
            continue
        if min(width, height) < SMALLEST_FACE:
            message = f"the picture is {width} × {height}; each side has at least {SMALLEST_FACE} pixels"
            failures.append(_failure(index, "InvalidParameterValue.PicFormatError", message))
            continue
        found.append((index, data))
    if contents and not found:
        raise RequestError("InvalidParameterValue.PicFormatError", f"FaceContents: {failures[0]['Message']}")
    return found, failures


def _failure(index: int, code: str, message: str) -> Body:
    return {"Index": index, "ErrCode": 1 if code.endswith("PicFormatError") else 2, "Message": message}


def _duplicates(pictures: Sequence[tuple[int, bytes]], known: Sequence[int]) -> list[Body]:
    message = "the picture belongs to a person already"
    return [_failure(pictures[place][0], "InvalidParameterValue.FaceDuplicate", message) for place in known]


def _person_answer(service: Service, origin: str, person: Person, failures: list[Body]) -> Body:
    return {"Person": _person(service, origin, person), "FailFaceInfoSet": failures}


def _person(service: Service, origin: str, person: Person) -> Body:
    return {
        "PersonId": person.person_id,
        "Name": person.name,
        "Description": person.description,
        "FaceInfoSet": [
            {"FaceId": face.face_id, "Url": service.pictures.url(origin, "faces", face.face_id)}
            for face in person.faces
        ],
        "TagSet": list(person.tags),
        "UsageSet": list(person.usages),
        "CreateTime": iso(person.create_time),
        "UpdateTime": iso(person.update_time),
    }


_RATE = 20
"""Calls a second; the model does not say."""

ACTIONS = (
    action("CreateWordSamples", _RATE, Rights.ADMIN, CreateWordSamples, create_word_samples),
    action("DescribeWordSamples", _RATE, Rights.READ, DescribeWordSamples, describe_word_samples),
    action("ModifyWordSample", _RATE, Rights.ADMIN, ModifyWordSample, modify_word_sample),
    action("DeleteWordSamples", _RATE, Rights.ADMIN, DeleteWordSamples, delete_word_samples),
    action("CreatePersonSample", _RATE, Rights.ADMIN, CreatePersonSample, create_person_sample),
    action("DescribePersonSamples", _RATE, Rights.READ, DescribePersonSamples, describe_person_samples),
    action("ModifyPersonSample", _RATE, Rights.ADMIN, ModifyPersonSample, modify_person_sample),
    action("DeletePersonSample", _RATE, Rights.ADMIN, PersonById, delete_person_sample),
)
