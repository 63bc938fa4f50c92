"""Openings and closings of a series, by the sound that its episodes share."""

from __future__ import annotations

import subprocess
import wave
from pathlib import Path
from random import Random

import numpy
import pytest

from tests import parts
from tests.conftest import Measured
from tests.workbench import Bench
from watcher.media import extraction
from watcher.model.samples import FilmEnds
from watcher.state.store import State
from watcher.steps import _openings as openings

RATE = 22_050


def melody(seed: int, seconds: float) -> numpy.ndarray[tuple[int], numpy.dtype[numpy.float64]]:
    """Chords that nobody would call music, a new one every third of a second."""
    chance = Random(seed)
    found = [numpy.zeros(0)]
    for _ in range(round(seconds * 3)):
        time = numpy.arange(RATE // 3) / RATE
        notes = [220 * 2 ** (chance.randrange(36) / 12) for _ in range(3)]
        found.append(sum(numpy.sin(2 * numpy.pi * note * time) for note in notes) * numpy.exp(-2 * time))
    return numpy.concatenate(found)[: round(seconds * RATE)]


def write(path: Path, sound: numpy.ndarray[tuple[int], numpy.dtype[numpy.float64]]) -> Path:
    """Sound as a file, with room for three notes at once."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound / 4 * 32767).astype("<i2").tobytes())
    return path


def episode(
    path: Path, number: int, before: float = 8, opening: float = 15, middle: float = 40, closing: float = 12
) -> Path:
    """A cold open, the opening, what happens, and the closing; compressed, with a noise of its own."""
    sound = numpy.concatenate([
        melody(1000 + number, before), melody(1, opening), melody(2000 + number, middle), melody(2, closing),
    ])  # fmt: skip
    sound += numpy.random.default_rng(number).normal(0, 0.05, len(sound))
    raw = write(path.with_suffix(".wav"), sound)
    picture = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=5"]
    command = [
        parts.FFMPEG,
        "-v",
        "error",
        "-y",
        "-i",
        str(raw),
        *picture,
        "-t",
        f"{len(sound) / RATE:.3f}",
        "-c:a",
        "aac",
        "-b:a",
        "96k",
    ]
    subprocess.run([*command, "-preset", "ultrafast", str(path)], check=True)
    return path


async def analysed(bench: Bench, source: Path) -> tuple[dict[str, float], FilmEnds | None]:
    (bench.root / source.name).write_bytes(source.read_bytes())
    bench.template("ai_analysis", 50001, {"Name": "n", "HeadTailConfigure": {"Switch": "ON"}})
    outcome = await bench.run(source.name, AiAnalysisTask={"Definition": 50001})
    (result,) = outcome.results
    assert result.output is not None, result.message
    (part,) = result.output["parts"]
    return part["output"], outcome.ends


async def test_openings_and_closings(workbench: Bench, tmp_path: Path, measured: Measured) -> None:
    """To half a second, from the second episode on; a film that is none of the series has neither."""
    first, ends = await analysed(workbench, episode(tmp_path / "1.mp4", 1))
    assert (first["head_time_offset"], round(first["tail_time_offset"])) == (0.0, 75)
    assert ends is not None
    workbench.siblings = [ends]
    second, more = await analysed(workbench, episode(tmp_path / "2.mp4", 2, before=3))
    assert more is not None
    workbench.siblings.append(more)
    third, _ = await analysed(workbench, episode(tmp_path / "3.mp4", 3, before=20, middle=55))
    truth = ((second, 18, 58), (third, 35, 90))
    off = max(
        abs(found[name] - wanted)
        for found, *times in truth
        for name, wanted in zip(("head_time_offset", "tail_time_offset"), times, strict=True)
    )
    measured("openings and closings", 4, 4, 0, f"{off:.2f} s")
    assert off <= 0.5
    stranger, _ = await analysed(workbench, episode(tmp_path / "x.mp4", 4, opening=0, closing=0))
    assert (stranger["head_time_offset"], round(stranger["tail_time_offset"])) == (0.0, 48)


def test_what_is_short_or_strange_is_not_common() -> None:
    """No sound, a second of it, or noise."""
    chance = Random(7)
    noise = [[chance.getrandbits(32) for _ in range(2000)] for _ in range(2)]
    assert openings.common(*noise) is None
    assert openings.common([], noise[0]) is None
    assert openings.common(noise[0][:8], noise[0]) is None
    assert openings.common(noise[0], [*noise[1], *noise[0]]) == pytest.approx((0, 2000 / openings.PRINTS), abs=2)


@pytest.mark.parametrize("kind", ["silence", "noise", "tone"])
def test_what_many_films_begin_with_is_no_opening(tmp_path: Path, kind: str) -> None:
    """Two strangers that begin and end with the same twenty seconds of nothing much."""
    found = []
    for number in (1, 2):
        lead = numpy.zeros(20 * RATE)
        if kind == "noise":
            lead = numpy.random.default_rng(number).normal(0, 0.3, len(lead))
        elif kind == "tone":
            lead = numpy.sin(2 * numpy.pi * 440 * numpy.arange(len(lead)) / RATE)
        raw = write(tmp_path / f"{number}.wav", numpy.concatenate([lead, melody(number, 60), lead]))
        command = [parts.FFMPEG, "-v", "error", "-y", "-i", str(raw), "-f", "chromaprint", "-fp_format", "raw"]
        subprocess.run([*command, str(tmp_path / "print")], check=True)
        found.append(openings.ends(extraction.read_fingerprint(tmp_path / "print"), 100.0))
    assert openings.opening(found[0], found[1:]) == 0
    assert openings.closing(found[0], found[1:]) == 100


async def test_films_of_a_directory_are_remembered(tmp_path: Path) -> None:
    """Those of this directory, but for the film itself; the last of them."""
    async with State(tmp_path / "s.db") as state:
        kept = state.fingerprints
        for number in range(20):
            await kept.keep("b", f"series/{number}.mp4", FilmEnds((number, 2**32 - 1), (1,), 60.0), float(number))
        await kept.keep("b", "other/1.mp4", FilmEnds((7,), (7,), 1.0), 99.0)
        await kept.keep("b", "top.mp4", FilmEnds((8,), (8,), 1.0), 99.0)
        found = await kept.siblings("b", "series/19.mp4")
        assert [film.head[0] for film in found] == list(range(18, 2, -1))
        assert found[0] == FilmEnds((18, 2**32 - 1), (1,), 60.0)
        assert await kept.siblings("b", "another.mp4") == (FilmEnds((8,), (8,), 1.0),)
        await kept.purge(90.0)
        assert await kept.siblings("b", "series/x.mp4") == ()
