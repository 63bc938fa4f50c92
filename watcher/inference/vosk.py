"""Speech by a Kaldi network in a folder of one's own, with Vosk: small, and quick enough for live use.

``pip install 'watcher[vosk]'``. The folder is one of those that Vosk's authors publish, unpacked.
"""

from __future__ import annotations

import json
import wave
from collections.abc import Iterator
from typing import Any, ClassVar

from watcher.inference._networks import NetworkOptions, NetworkProvider

RATE = 16_000
AT_ONCE = RATE // 2
"""Samples that are handed over at once."""


class Options(NetworkOptions):
    """Writes down speech in the one language of the network."""

    language: str = ""
    """The language it knows, e.g. ``de``; other ones are refused then."""


class VoskProvider(NetworkProvider):
    """See the module."""

    serves: ClassVar = ("speech",)
    library: ClassVar = ("vosk", "vosk")
    options: Options

    def load(self) -> None:
        from vosk import Model, SetLogLevel  # noqa: PLC0415

        SetLogLevel(-1)
        try:
            self._model = Model(str(self.options.model))
        except Exception:  # it has no class of its own, and says nothing more
            raise ValueError(f"the network in {self.options.model} can't be loaded") from None

    def work(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        from vosk import KaldiRecognizer  # noqa: PLC0415

        language, mine = str(request.get("language", "")).lower(), self.options.language.lower()
        if language and mine and language.partition("-")[0] != mine.partition("-")[0]:
            raise ValueError(f"the network knows {mine} only, not {language!r}: name another provider of speech")
        recognizer = KaldiRecognizer(self._model, RATE)
        recognizer.SetWords(True)
        with wave.open(request["sound"]) as sound:
            while samples := sound.readframes(AT_ONCE):
                if recognizer.AcceptWaveform(samples):
                    yield from utterance(recognizer.Result())
        yield from utterance(recognizer.FinalResult())


def utterance(result: str) -> Iterator[dict[str, Any]]:
    """What Vosk says, as the contract has it; nothing where nothing was said."""
    words = json.loads(result).get("result") or []
    if words:
        yield {
            "start": words[0]["start"],
            "end": words[-1]["end"],
            "text": " ".join(word["word"] for word in words),
            "confidence": round(100 * sum(word["conf"] for word in words) / len(words), 2),
            "words": [{"text": word["word"], "start": word["start"], "end": word["end"]} for word in words],
        }
