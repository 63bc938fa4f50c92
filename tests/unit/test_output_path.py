"""Output paths: the contract's variables and defaults, and no way out of the storage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.errors import MediaError
from watcher.model.output_path import Naming, problems_of
from watcher.model.resources import NumberFormat

NAMING = Naming("up/My Clip.final.mov", "/done/", 100010)


@pytest.mark.parametrize(
    ("pattern", "extension", "number", "expected"),
    [
        ("{inputName}_transcode_{definition}.{format}", "mp4", None, "done/My Clip.final_transcode_100010.mp4"),
        ("{inputName}_{number}.{format}", "jpg", 3, "done/My Clip.final_3.jpg"),
        ("/abs/{inputDir}/{inputName}.{inputFormat}.{format}", "mp4", None, "abs/up/My Clip.final.mov.mp4"),
        ("no-extension", "mp4", None, "done/no-extension.mp4"),
        ("given.mp4", "mp4", None, "done/given.mp4"),
        ("sub/{definition}/x.{format}", "ts", None, "done/sub/100010/x.ts"),
        ("{subStreamNumber}_{segmentNumber}.{format}", "ts", 7, "done/0_7.ts"),
    ],
)
def test_variables(pattern: str, extension: str, number: int | None, expected: str) -> None:
    """Every variable of the contract, relative and absolute paths, with and without an extension."""
    assert NAMING.object_key(pattern, extension, number=number) == expected


def test_a_pattern_without_a_number_gets_one_when_there_are_several_files() -> None:
    """Pictures never overwrite each other."""
    keys = [NAMING.object_key("pic.{format}", "jpg", number=number, several=True) for number in range(2)]
    assert keys == ["done/pic_0.jpg", "done/pic_1.jpg"]
    assert NAMING.object_key("pic", "jpg", number=4, several=True) == "done/pic_4.jpg"


def test_number_format() -> None:
    """Start, step, width and padding (contract, section 1.4)."""
    form = NumberFormat(initial_value=5, increment=10, min_length=4, place_holder="x")
    assert [form.render(index) for index in range(3)] == ["xxx5", "xx15", "xx25"]


def test_source_names_are_not_patterns() -> None:
    """A variable in the name of the source stays what it is: text."""
    assert Naming("{number}/{rand}.mp4", "/", 1).object_key("{inputName}.{format}", "jpg", number=1) == "{rand}.jpg"


@pytest.mark.parametrize("pattern", ["../x", "a/../../x", "//x", "a//b", "x\n", "/../x"])
def test_no_way_out(pattern: str) -> None:
    """A path with an empty part, '..' or a control character is refused."""
    with pytest.raises(MediaError):
        NAMING.object_key(pattern, "mp4")


@given(key=st.text(min_size=1, max_size=60).filter(lambda key: not key.endswith("/")), pattern=st.text(max_size=40))
def test_a_key_never_leaves_the_storage(key: str, pattern: str) -> None:
    """Whatever the source is called and whatever the pattern says: a clean relative key, or a refusal."""
    try:
        made = Naming(key, "/out/", 1).object_key(pattern + "{inputName}", "mp4")
    except MediaError as error:
        assert error.code == "InvalidInput"
        return
    assert not made.startswith("/")
    assert not {"", ".", ".."} & set(made.split("/"))


def test_problems_of_a_pattern() -> None:
    """Unknown variables are found when a workflow is loaded, not when a task runs."""
    assert problems_of("{inputName}_{definition}.{format}") == []
    assert "there is no variable {name}" in problems_of("{name}.mp4")[0]
    assert problems_of("../x") == ["'..' is not allowed in a path"]


def test_echo() -> None:
    """Results show the path filled in, but for what differs from file to file."""
    shown = NAMING.echo("{inputName}_{number}.{format}", absolute=True)
    assert shown == "/done/My Clip.final_{number}.{format}"
