"""Word and person samples as files, beside those that requests make. The form is ours; the members are the API's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from watcher import yamlfile
from watcher.errors import ConfigurationError, Problem
from watcher.model.base import Value
from watcher.model.objects import digest
from watcher.model.samples import PERSON_USAGES, WORD_USAGES, Face, KnownPerson, Person, Samples, Word, expand
from watcher.mps import wire
from watcher.mps.files import yaml_files
from watcher.mps.requests import LARGEST_PICTURE, Tags


class FileWord(Value):
    """A keyword."""

    keyword: str = Field(min_length=1, max_length=20)
    usages: tuple[str, ...] = ("All",)
    tags: Tags = ()


class FilePerson(Value):
    """A person. ``faces`` are pictures of one face each, as paths from the file."""

    name: str = Field(min_length=1, max_length=20)
    description: str = Field(default="", max_length=1024)
    usages: tuple[str, ...] = ("All",)
    tags: Tags = ()
    faces: Annotated[tuple[str, ...], Field(min_length=1, max_length=5)]


class SampleFile(Value):
    """A file: either list, or both."""

    word_set: tuple[FileWord, ...] = ()
    person_set: tuple[FilePerson, ...] = ()


def load_samples(directory: Path) -> tuple[Samples, list[Problem]]:
    """All samples of a directory, and every mistake in its files."""
    words: list[Word] = []
    persons: list[KnownPerson] = []
    problems: list[Problem] = []
    for path in yaml_files(directory):
        try:
            found = wire.decode(SampleFile, yamlfile.read(path) or {}, f"{path}:")
            words += [_word(word, f"{path}: WordSet[{n}]") for n, word in enumerate(found.word_set)]
            persons += [_person(one, path, f"{path}: PersonSet[{n}]") for n, one in enumerate(found.person_set)]
        except ConfigurationError as error:
            problems.extend(error.problems)
    return Samples(tuple(words), tuple(persons)), problems


def _usages(given: tuple[str, ...], table: dict[str, tuple[str, ...]], where: str) -> tuple[str, ...]:
    try:
        return expand(given, table)
    except ValueError as error:
        raise ConfigurationError([Problem(f"{where}.Usages", str(error))]) from None


def _word(word: FileWord, where: str) -> Word:
    return Word(word.keyword, _usages(word.usages, WORD_USAGES, where), word.tags)


def _person(one: FilePerson, path: Path, where: str) -> KnownPerson:
    usages = _usages(one.usages, PERSON_USAGES, where)
    pictures: list[tuple[str, bytes]] = []
    for number, name in enumerate(one.faces):
        file = path.parent / name
        try:
            data = file.read_bytes()
        except OSError as error:
            raise ConfigurationError([Problem(f"{where}.Faces[{number}]", f"{file}: {error.strerror}")]) from None
        if len(data) > LARGEST_PICTURE:
            message = f"{file} has more than {LARGEST_PICTURE // 2**20} MiB"
            raise ConfigurationError([Problem(f"{where}.Faces[{number}]", message)])
        pictures.append((digest("face", one.name, data.hex()).hex(), data))
    faces = tuple(Face(name) for name, _ in pictures)
    person = Person(f"file-{one.name}", one.name, one.description, usages, one.tags, faces)
    return KnownPerson(person, tuple(pictures))
