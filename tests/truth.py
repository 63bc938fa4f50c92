"""Media of which is known what they show and say: text in known fonts at known times, recorded speech with its words.

The speech is read from LibriVox (public domain), as Debian's pocketsphinx-testdata brings it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.parts import FFMPEG

LATIN = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
SERIF = "/usr/share/fonts/truetype/dejavu/DejaVuSerif-Bold.ttf"
MONO = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf"
CHINESE = "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"
_SPEECH = Path("/usr/share/pocketsphinx/test/data/librivox")


@dataclass(frozen=True)
class Title:
    """A text on the screen: seconds, and the place of its left upper corner in pixels."""

    text: str
    start: float
    end: float
    font: str = LATIN
    size: int = 40
    x: int = 60
    y: int = 60
    colour: str = "white"


@dataclass(frozen=True)
class Speech:
    """Recorded speech, what is said in it, and where it begins in the film, in seconds."""

    file: Path
    words: str
    start: float = 0.0

    @property
    def seconds(self) -> float:
        with wave.open(str(self.file)) as sound:
            return sound.getnframes() / sound.getframerate()


def recordings() -> list[Speech]:
    """Five sentences of a reader of "Sense and Sensibility"."""
    transcription = (_SPEECH / "transcription").read_text()
    found = re.findall(r"<s> (.*?) </s> \((\S+)\)", transcription)
    assert found, "recorded speech is missing: run the tests by `bash .ci/test`, which installs it"
    return [Speech(_SPEECH / f"{name}.wav", words) for words, name in found]


SENTENCES = (
    "the weather in the city is very cold this morning",
    "we are going to open the window and close the door",
    "the president will speak about money and power tomorrow",
    "please put the yellow paper on the table in the kitchen",
)


def synthesised(folder: Path) -> list[Speech]:
    """The same sentences, by espeak-ng."""
    found = []
    for number, words in enumerate(SENTENCES):
        file = folder / f"said-{number}.wav"
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", "140", "-w", str(file), words], check=True)
        found.append(Speech(file, words))
    return found


def film(
    path: Path,
    seconds: float,
    titles: Sequence[Title] = (),
    speech: Sequence[Speech] = (),
    *,
    size: str = "960x540",
    sound: bool = True,
    ground: str = "0x203050",
) -> Path:
    """Titles over a slowly moving ground, speech over silence."""
    draw = []
    for number, title in enumerate(titles):
        text = path.with_name(f"{path.stem}-{number}.txt")
        text.write_text(title.text, encoding="utf-8")
        draw.append(
            f"drawtext=fontfile={title.font}:textfile={text}:expansion=none:fontsize={title.size}"
            f":fontcolor={title.colour}:x={title.x}:y={title.y}:enable='between(t,{title.start},{title.end - 0.001})'"
        )
    inputs = ["-f", "lavfi", "-i", f"color={ground}:size={size}:rate=25"]
    graph = f"[0:v]{','.join(draw) or 'null'}[v]"
    if sound:
        inputs += ["-f", "lavfi", "-i", "anullsrc=r=44100:cl=stereo"]
        for said in speech:
            inputs += ["-i", str(said.file)]
        parts = "".join(
            f"[{index}:a]adelay={round(said.start * 1000)}:all=1[s{index}];" for index, said in enumerate(speech, 2)
        )
        labels = "".join(f"[s{index}]" for index in range(2, len(speech) + 2))
        graph += f";{parts}[1:a]{labels}amix=inputs={len(speech) + 1}:normalize=0[a]"
    tracks = ["-map", "[v]", *(["-map", "[a]", "-c:a", "aac", "-b:a", "128k"] if sound else [])]
    subprocess.run(
        [
            FFMPEG, "-nostdin", "-v", "error", "-y", *inputs, "-filter_complex", graph, *tracks, "-t", str(seconds),
            "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", str(path),
        ],
        check=True,
    )  # fmt: skip
    return path


def photographs(cache: Path) -> Path:
    """A folder with official portraits of two presidents (public domain), as the package face_recognition has them."""
    into = cache / "photographs"
    if not into.exists():
        package = "face_recognition==1.3.0"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "-d", str(cache), package], check=True, capture_output=True)
        (archive,) = cache.glob("face_recognition-*.tar.gz")
        with tarfile.open(archive) as files:
            for member in files.getmembers():
                if "/tests/test_images/" in member.name and member.isfile():
                    data = files.extractfile(member)
                    assert data is not None
                    into.mkdir(exist_ok=True)
                    (into / Path(member.name).name).write_bytes(data.read())
    return into


def slides(path: Path, shown: Sequence[Path | None], seconds: float = 2.0) -> Path:
    """One photograph after another; None is an empty slide."""
    inputs: list[str] = []
    for picture in shown:
        given = ["-loop", "1", "-i", str(picture)] if picture else ["-f", "lavfi", "-i", "color=gray:size=1280x720"]
        inputs += ["-t", str(seconds), "-r", "25", *given]
    fit = "scale=1280:720:force_original_aspect_ratio=decrease,pad=1280:720:-1:-1,setsar=1,fps=25,format=yuv420p"
    graph = "".join(f"[{n}:v]{fit}[v{n}];" for n in range(len(shown)))
    graph += "".join(f"[v{n}]" for n in range(len(shown))) + f"concat=n={len(shown)}"
    command = [FFMPEG, "-nostdin", "-v", "error", "-y", *inputs, "-filter_complex", graph]
    subprocess.run([*command, "-c:v", "libx264", "-preset", "ultrafast", str(path)], check=True)
    return path


def distance(found: Sequence[str], wanted: Sequence[str]) -> int:
    """How many words have to be put in, taken out or replaced (Levenshtein, over words or characters)."""
    row = list(range(len(wanted) + 1))
    for number, word in enumerate(found, 1):
        before, row[0] = row[0], number
        for index, other in enumerate(wanted, 1):
            before, row[index] = row[index], min(row[index] + 1, row[index - 1] + 1, before + (word != other))
    return row[-1]
