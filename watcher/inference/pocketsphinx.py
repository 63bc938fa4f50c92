"""Speech by PocketSphinx: English only, small, and its model comes with the package.

``pip install 'watcher[speech]'``. It knows read speech of one person; for more than keywords, name a server that
speaks the protocol of OpenAI (``type: openai``).
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from typing import Any, ClassVar

from watcher import plugin
from watcher.inference.base import Provider

RATE = 16_000
FRAMES = 100
"""Frames a second in which the decoder counts."""
NO_WORDS = ("<", "[", "+")
"""How marks of silence and noise begin."""


class Options(plugin.Options):
    """Writes down English speech."""


class _Samples:
    """The samples of a WAV file as a stream of bytes, without its header."""

    def __init__(self, sound: wave.Wave_read) -> None:
        self._sound = sound

    def read(self, size: int) -> bytes:
        return self._sound.readframes(size // 2)


class PocketSphinxProvider(Provider):
    """See the module."""

    serves: ClassVar = ("speech",)
    library: ClassVar = ("pocketsphinx", "speech")
    options: Options

    def load(self) -> None:
        from pocketsphinx import Decoder  # noqa: PLC0415

        self._decoder = Decoder(samprate=RATE, loglevel="FATAL")

    def work(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        from pocketsphinx import Segmenter  # noqa: PLC0415

        language = str(request.get("language", ""))
        if language and not language.lower().startswith("en"):
            raise ValueError(f"pocketsphinx knows English only, not {language!r}: name another provider of speech")
        with wave.open(request["sound"]) as sound:
            for speech in Segmenter(sample_rate=RATE).segment(_Samples(sound)):
                found = self._utterance(speech.pcm, float(speech.start_time))
                if found is not None:
                    yield found

    def _utterance(self, samples: bytes, start: float) -> dict[str, Any] | None:
        decoder = self._decoder
        decoder.start_utt()
        decoder.process_raw(samples, full_utt=True)
        decoder.end_utt()
        found = [part for part in decoder.seg() or () if not part.word.startswith(NO_WORDS)]
        if not found:
            return None
        words = [
            {
                "text": part.word.split("(")[0],
                "start": round(start + part.start_frame / FRAMES, 2),
                "end": round(start + (part.end_frame + 1) / FRAMES, 2),
            }
            for part in found
        ]
        sure = sum(decoder.get_logmath().exp(0) * part.prob for part in found) / len(found)
        return {
            "start": words[0]["start"],
            "end": words[-1]["end"],
            "text": " ".join(str(word["text"]) for word in words),
            "confidence": round(100 * max(0.0, min(1.0, sure)), 2),
            "words": words,
        }
