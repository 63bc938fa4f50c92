"""Word and person samples: what recognition and review look for (contract api.md, section 10)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, delete, insert, select, update

from watcher.errors import PermanentError
from watcher.model.objects import digest
from watcher.model.samples import Face, Person, Word
from watcher.state import schema
from watcher.state.database import Database

T = TypeVar("T")


class NoSuchSampleError(PermanentError):
    """There is no such word, person or face."""


class FaceKnownError(PermanentError):
    """The very same picture belongs to a sample already."""


class LastFaceError(PermanentError):
    """A person keeps at least one face."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some samples, and how many there are in all."""

    items: list[Any]
    total: int


class Words:
    """Keywords, each with what it is used for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, keywords: Iterable[tuple[str, tuple[str, ...]]], usages: Sequence[str]) -> None:
        """Add keywords, given with their tags; one that is there gets the usages and tags besides its own."""
        now = time.time()
        table = schema.words

        def put(connection: Connection) -> None:
            for keyword, tags in keywords:
                known = _word(connection, keyword)
                if known is None:
                    values = {"usages": list(usages), "tags": list(tags), "create_time": now, "update_time": now}
                    connection.execute(insert(table).values(keyword=keyword, **values))
                else:
                    values = {"usages": _union(known.usages, usages), "tags": _union(known.tags, tags)}
                    connection.execute(
                        update(table).where(table.c.keyword == keyword).values(**values, update_time=now)
                    )

        await self._database.run(put)

    async def change(self, keyword: str, do: Callable[[Word], Word]) -> None:
        """Replace usages and tags by what ``do`` makes of them; raises NoSuchSampleError."""
        table = schema.words

        def change(connection: Connection) -> None:
            known = _word(connection, keyword)
            if known is None:
                raise NoSuchSampleError(f"there is no word {keyword!r}")
            after = do(known)
            values = {"usages": list(after.usages), "tags": list(after.tags), "update_time": time.time()}
            connection.execute(update(table).where(table.c.keyword == keyword).values(**values))

        await self._database.run(change)

    async def remove(self, keywords: Sequence[str]) -> int:
        """Remove those that are there."""
        statement = delete(schema.words).where(schema.words.c.keyword.in_(keywords))
        return await self._database.run(lambda connection: connection.execute(statement).rowcount)

    async def page(self, wanted: Callable[[Word], bool], offset: int, limit: int) -> Page:
        """Those that are wanted, newest first."""
        table = schema.words
        query = select(table).order_by(table.c.create_time.desc(), table.c.keyword)

        def find(connection: Connection) -> Page:
            found = [word for word in map(_as_word, connection.execute(query)) if wanted(word)]
            return Page(found[offset : offset + limit], len(found))

        return await self._database.read(find)


class Persons:
    """Persons with the pictures of their faces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, person: Person, pictures: Sequence[bytes]) -> tuple[Person, list[int]]:
        """Add a person; also returns the positions of the pictures that belong to a sample already.

        Raises FaceKnownError when that are all of them.
        """
        now = time.time()
        made = replace(person, person_id=str(secrets.randbelow(9 * 10**15) + 10**15), create_time=now, update_time=now)

        def put(connection: Connection) -> tuple[Person, list[int]]:
            known = _add_faces(connection, made.person_id, pictures)
            if pictures and len(known) == len(pictures):
                raise FaceKnownError("each of these pictures belongs to a person already")
            connection.execute(insert(schema.persons).values(_person_row(made)))
            return _with_faces(connection, made), known

        return await self._database.run(put)

    async def change(
        self, person_id: str, do: Callable[[Person], Person], *, add: Sequence[bytes] = (), remove: Sequence[str] = (),
        reset: bool = False,
    ) -> tuple[Person, list[int]]:  # fmt: skip
        """Change a person, remove faces, add others; raises NoSuchSampleError, LastFaceError, FaceKnownError."""

        def change(connection: Connection) -> tuple[Person, list[int]]:
            table, faces = schema.persons, schema.faces
            row = connection.execute(select(table).where(table.c.person_id == person_id)).one_or_none()
            if row is None:
                raise NoSuchSampleError(f"there is no person {person_id!r}")
            had_faces = bool(_with_faces(connection, _as_person(row)).faces)
            gone = delete(faces).where(faces.c.person_id == person_id)
            if reset:
                connection.execute(gone)
            elif remove:
                removed = connection.execute(gone.where(faces.c.face_id.in_(remove))).rowcount
                if removed != len(set(remove)):
                    raise NoSuchSampleError(f"person {person_id!r} has not all of these faces")
            known = _add_faces(connection, person_id, add)
            if add and len(known) == len(add):
                raise FaceKnownError("each of these pictures belongs to a person already")
            after = _with_faces(connection, replace(do(_as_person(row)), update_time=time.time()))
            if had_faces and not after.faces:
                raise LastFaceError("at least one face has to remain")
            connection.execute(update(table).where(table.c.person_id == person_id).values(_person_row(after)))
            return after, known

        return await self._database.run(change)

    async def remove(self, person_id: str) -> bool:
        """Remove a person with its faces."""

        def remove(connection: Connection) -> bool:
            connection.execute(delete(schema.faces).where(schema.faces.c.person_id == person_id))
            gone = delete(schema.persons).where(schema.persons.c.person_id == person_id)
            return connection.execute(gone).rowcount == 1

        return await self._database.run(remove)

    async def page(self, wanted: Callable[[Person], bool], offset: int, limit: int) -> Page:
        """Those that are wanted, newest first."""
        query = select(schema.persons).order_by(schema.persons.c.seq.desc())

        def find(connection: Connection) -> Page:
            found = [person for person in map(_as_person, connection.execute(query)) if wanted(person)]
            shown = [_with_faces(connection, person) for person in found[offset : offset + limit]]
            return Page(shown, len(found))

        return await self._database.read(find)

    async def picture(self, face_id: str) -> bytes | None:
        """The picture of a face."""
        query = select(schema.faces.c.picture).where(schema.faces.c.face_id == face_id)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())


def _union(one: Sequence[str], other: Sequence[str]) -> list[str]:
    return [*one, *(item for item in other if item not in one)]


def _word(connection: Connection, keyword: str) -> Word | None:
    row = connection.execute(select(schema.words).where(schema.words.c.keyword == keyword)).one_or_none()
    return _as_word(row) if row is not None else None


def _as_word(row: Row[Any]) -> Word:
    return Word(row.keyword, tuple(row.usages), tuple(row.tags), row.create_time, row.update_time)


def _as_person(row: Row[Any]) -> Person:
    return Person(
        row.person_id, row.name, row.description, tuple(row.usages), tuple(row.tags), (), row.create_time,
        row.update_time,
    )  # fmt: skip


def _person_row(person: Person) -> dict[str, Any]:
    return {
        "person_id": person.person_id,
        "name": person.name,
        "description": person.description,
        "usages": list(person.usages),
        "tags": list(person.tags),
        "create_time": person.create_time,
        "update_time": person.update_time,
    }


def _with_faces(connection: Connection, person: Person) -> Person:
    table = schema.faces
    query = select(table.c.face_id).where(table.c.person_id == person.person_id).order_by(table.c.face_id)
    return replace(person, faces=tuple(Face(row.face_id) for row in connection.execute(query)))


def _add_faces(connection: Connection, person_id: str, pictures: Sequence[bytes]) -> list[int]:
    """Returns the positions of those that belong to a sample already, which are left out."""
    table = schema.faces
    known: list[int] = []
    for index, picture in enumerate(pictures):
        sum_ = digest(picture.hex())
        if connection.execute(select(table.c.face_id).where(table.c.digest == sum_)).first() is not None:
            known.append(index)
            continue
        values = {"person_id": person_id, "digest": sum_, "picture": picture}
        connection.execute(insert(table).values(face_id=str(secrets.randbelow(9 * 10**15) + 10**15), **values))
    return known
