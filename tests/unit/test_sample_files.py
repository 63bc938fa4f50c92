"""Word and person samples as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.mps.sample_files import load_samples


def test_words_and_persons(tmp_path: Path) -> None:
    """Usages in their expanded form, pictures with ids that are the same the next time."""
    (tmp_path / "ada.jpg").write_bytes(b"a picture")
    (tmp_path / "a.yaml").write_text("WordSet: [{Keyword: secret, Usages: [Review], Tags: [porn]}, {Keyword: b}]")
    (tmp_path / "b.yaml").write_text("PersonSet: [{Name: Ada, Description: first, Faces: [ada.jpg]}]")
    (tmp_path / "empty.yaml").write_text("")
    samples, problems = load_samples(tmp_path)
    assert problems == []
    assert [(word.keyword, word.usages, word.tags) for word in samples.words] == [
        ("secret", ("Review.Ocr", "Review.Asr"), ("porn",)),
        ("b", ("Recognition.Ocr", "Recognition.Asr", "Review.Ocr", "Review.Asr"), ()),
    ]
    (known,) = samples.persons
    assert (known.person.name, known.person.description) == ("Ada", "first")
    assert known.person.usages == ("Recognition.Face", "Review.Face")
    assert [data for _, data in known.pictures] == [b"a picture"]
    assert load_samples(tmp_path)[0] == samples
    assert load_samples(tmp_path / "absent") == (type(samples)(), [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("WordSet: [{Keyword: x, Usages: [Reading]}]", "WordSet[0].Usages: "),
        ("WordSet: [{Keyword: ''}]", "WordSet[0].Keyword: "),
        ("WordSet: [{Keyword: x, Word: x}]", "WordSet[0].Word: unknown field"),
        ("PersonSet: [{Name: x}]", "PersonSet[0].Faces: is required"),
        ("PersonSet: [{Name: x, Faces: [gone.jpg]}]", "PersonSet[0].Faces[0]: "),
        ("Words: []", "Words: unknown field"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, problem: str) -> None:
    """Each has its place; what is right in other files is there."""
    (tmp_path / "bad.yaml").write_text(text)
    (tmp_path / "good.yaml").write_text("WordSet: [{Keyword: fine}]")
    samples, problems = load_samples(tmp_path)
    (found,) = problems
    assert f"{tmp_path / 'bad.yaml'}: {problem}" in str(found)
    assert [word.keyword for word in samples.words] == ["fine"]
