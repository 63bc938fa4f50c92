"""Models behind an address that speaks OpenAI's protocol: a whisper server, vLLM, Ollama and the like, or OpenAI's own.

Speech is sent to ``/audio/transcriptions`` as WAV and asked back as ``verbose_json``, with times; pictures are sent to
``/chat/completions``, a few of a film, each with the wish for JSON (OpenAI API reference, "Create transcription" and
"Create chat completion").
"""

from __future__ import annotations

import base64
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

WISH = (
    "Say what this picture of a film shows. Answer with JSON only, of the form "
    '{"category": "one or two words for what kind of film it is from", '
    '"tags": [{"name": "a thing, person, place or action that is to be seen", "confidence": 0 to 100}]} '
    "with at most ten tags, the most important first, in lower case."
)
MOST_TAGS = 10
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
    pictures: Annotated[int, Field(ge=1, le=1000)] = 16
    """Of a film, how many pictures are sent at most."""


class OpenAiProvider(Provider):
    """See the module."""

    serves: ClassVar = ("speech", "vision")
    network: ClassVar = True
    options: Options

    def load(self) -> None:
        """There is nothing to load."""

    def work(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        return self._seen(request["pictures"]) if "pictures" in request else self._heard(request)

    def _seen(self, paths: list[str]) -> Iterator[dict[str, Any]]:
        """What pictures show that lie at regular distances."""
        count = min(len(paths), self.options.pictures)
        for number in range(count):
            index = number * len(paths) // count
            picture = base64.b64encode(Path(paths[index]).read_bytes()).decode()
            content = [
                {"type": "text", "text": WISH},
                {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}},
            ]
            body = {
                "model": self.options.model, "messages": [{"role": "user", "content": content}], "temperature": 0,
                "response_format": {"type": "json_object"},
            }  # fmt: skip
            answer = self._post("chat/completions", json.dumps(body).encode(), "application/json")
            try:
                yield {"index": index} | _labels(answer["choices"][0]["message"]["content"])
            except (KeyError, TypeError, ValueError, IndexError):
                raise ValueError(f"{self.options.url}: the answer is not the JSON that was asked for") from None

    def _heard(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        fields = {"model": self.options.model, "response_format": "verbose_json"}
        if request.get("language"):
            fields["language"] = str(request["language"])
        body, kind = _form(fields, Path(request["sound"]))
        answer = self._post("audio/transcriptions", body, kind)
        try:
            for segment in answer["segments"]:
                text = str(segment["text"]).strip()
                if text:
                    yield _utterance(segment, text, answer.get("words") or [])
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{self.options.url}: the answer has no segments with start, end and text") from None

    def _post(self, path: str, body: bytes, kind: str) -> Any:
        headers = {"Content-Type": kind}
        if self.options.api_key is not None:
            headers["Authorization"] = f"Bearer {self.options.api_key.get_secret_value()}"
        address = f"{self.options.url.rstrip('/')}/{path}"
        call = urllib.request.Request(address, body, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(call, timeout=self.options.timeout) as answer:  # noqa: S310
                return json.loads(answer.read(LARGEST))
        except urllib.error.HTTPError as error:
            said = error.read(300).decode("utf-8", "replace")
            raise ValueError(f"{address}: status {error.code}: {said}") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{address}: {error}") from None


def _form(fields: dict[str, str], file: Path) -> tuple[bytes, str]:
    """A form with a file (RFC 7578), and its content type."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="sound.wav"\r\n'
    body = b"".join(parts) + head.encode() + b"Content-Type: audio/wav\r\n\r\n" + file.read_bytes()
    return body + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _labels(text: str) -> dict[str, Any]:
    said = json.loads(text)
    tags = []
    for tag in said["tags"]:
        sure = float(tag["confidence"])
        if not 0 <= sure <= 100:  # also where it is no number
            raise ValueError("confidence")
        tags.append({"name": str(tag["name"])[:64], "confidence": round(sure, 2)})
    return {"category": str(said["category"])[:64], "tags": tags[:MOST_TAGS]}


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
