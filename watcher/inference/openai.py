"""Models behind an address that speaks OpenAI's protocol: a whisper server, vLLM, Ollama and the like, or OpenAI's own.

Speech is sent to ``/audio/transcriptions`` as MP3-less WAV and asked back as ``verbose_json``, with times
(OpenAI API reference, "Create transcription").
"""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr

from watcher import plugin
from watcher.inference.base import Provider
from watcher.plugin import Seconds

LARGEST = 64 * 1024 * 1024
"""Bytes of an answer that are read."""


class Options(plugin.Options):
    """Asks a server."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    """Where the protocol begins, e.g. ``http://127.0.0.1:8000/v1``."""
    model: str = "whisper-1"
    """The model to ask for."""
    api_key: SecretStr | None = None
    """The key, where the server asks for one."""
    timeout: Annotated[Seconds, Field(gt=0)] = 600.0
    """How long an answer may take."""


class OpenAiProvider(Provider):
    """See the module."""

    serves: ClassVar = ("speech",)
    network: ClassVar = True
    options: Options

    def load(self) -> None:
        """There is nothing to load."""

    def work(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        fields = {"model": self.options.model, "response_format": "verbose_json"}
        if request.get("language"):
            fields["language"] = str(request["language"])
        answer = self._post("audio/transcriptions", fields, Path(request["sound"]))
        try:
            for segment in answer["segments"]:
                text = str(segment["text"]).strip()
                if text:
                    yield _utterance(segment, text, answer.get("words") or [])
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{self.options.url}: the answer has no segments with start, end and text") from None

    def _post(self, path: str, fields: dict[str, str], file: Path) -> Any:
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="sound.wav"\r\n'
        body = b"".join(parts) + head.encode() + b"Content-Type: audio/wav\r\n\r\n" + file.read_bytes()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        if self.options.api_key is not None:
            headers["Authorization"] = f"Bearer {self.options.api_key.get_secret_value()}"
        address = f"{self.options.url.rstrip('/')}/{path}"
        call = urllib.request.Request(address, body + f"\r\n--{boundary}--\r\n".encode(), headers)  # noqa: S310
        try:
            with urllib.request.urlopen(call, timeout=self.options.timeout) as answer:  # noqa: S310
                return json.loads(answer.read(LARGEST))
        except urllib.error.HTTPError as error:
            said = error.read(300).decode("utf-8", "replace")
            raise ValueError(f"{address}: status {error.code}: {said}") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{address}: {error}") from None


def _utterance(segment: dict[str, Any], text: str, words: list[dict[str, Any]]) -> dict[str, Any]:
    start, end = float(segment["start"]), float(segment["end"])
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start <= end):
        raise ValueError("times")
    mine = segment.get("words") or [word for word in words if start <= float(word["start"]) < end]
    sure = math.exp(min(0.0, float(segment["avg_logprob"]))) if "avg_logprob" in segment else 1.0
    return {
        "start": start,
        "end": end,
        "text": text,
        "confidence": round(100 * sure, 2),
        "words": [
            {"text": str(word["word"]).strip(), "start": float(word["start"]), "end": float(word["end"])}
            for word in mine
        ],
    }
