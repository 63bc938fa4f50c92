"""Speech by Whisper networks in a folder of one's own, with faster-whisper (CTranslate2).

``pip install 'watcher[whisper]'``. The folder holds ``model.bin``, ``config.json``, ``tokenizer.json`` and the like, as
``ct2-transformers-converter`` makes them; nothing is fetched from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from watcher.inference._networks import NetworkOptions, NetworkProvider


class Options(NetworkOptions):
    """Writes down speech in the languages of the network."""

    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where it runs."""
    compute_type: str = "default"
    """How it counts (``int8``, ``float16`` …); the default is that of the files."""
    beam_size: Annotated[int, Field(ge=1, le=20)] = 5
    """How many ways to go on are followed at once."""
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    """Threads; 0 leaves it to the library."""
    skip_silence: bool = True
    """Whether only what sounds like speech is listened to (Silero VAD)."""


class FasterWhisperProvider(NetworkProvider):
    """See the module."""

    serves: ClassVar = ("speech",)
    library: ClassVar = ("faster_whisper", "whisper")
    options: Options
    needed: ClassVar = "model.bin"

    def load(self) -> None:
        from faster_whisper import WhisperModel  # noqa: PLC0415

        given = self.options
        try:
            self._model = WhisperModel(
                str(given.model), device=given.device, compute_type=given.compute_type, cpu_threads=given.threads,
                local_files_only=True,
            )  # fmt: skip
        except Exception as error:  # of several libraries
            raise ValueError(f"the network in {given.model} can't be loaded: {str(error)[:200]}") from None

    def work(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        language = str(request.get("language", "")).lower().partition("-")[0] or None
        if language not in (None, "en") and not self._model.model.is_multilingual:
            raise ValueError(f"the network knows English only, not {language!r}: name another provider of speech")
        segments, _ = self._model.transcribe(
            request["sound"], language=language, beam_size=self.options.beam_size, word_timestamps=True,
            vad_filter=self.options.skip_silence,
        )  # fmt: skip
        for segment in segments:
            text = segment.text.strip()
            if text:
                yield {
                    "start": float(segment.start),
                    "end": float(segment.end),
                    "text": text,
                    "confidence": round(100 * math.exp(min(0.0, float(segment.avg_logprob))), 2),
                    "words": [
                        {"text": word.word.strip(), "start": float(word.start), "end": float(word.end)}
                        for word in segment.words or ()
                    ],
                }
