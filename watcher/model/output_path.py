"""From a path pattern to an object key (contract pipelines.md, section 1).

Source names are hostile input: a key is built from them only here, and what would leave the storage
(``..``, an empty segment, a control character) is refused.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from urllib.parse import quote

from watcher.errors import MediaError
from watcher.model.objects import directory_of
from watcher.model.resources import NumberFormat
from watcher.model.triggers import extension_of

VARIABLES = (
    "inputName", "inputFormat", "inputDir", "definition", "format", "number", "subStreamNumber", "segmentNumber",
)  # fmt: skip
_VARIABLE = re.compile(r"\{([^{}]*)\}")
MAX_KEY_BYTES = 1024


def problems_of(pattern: str) -> list[str]:
    """What is wrong with a pattern, as sentences; empty when it is fine."""
    unknown = [name for name in _VARIABLE.findall(pattern) if name not in VARIABLES]
    found = [f"there is no variable {{{name}}}; use {', '.join(f'{{{v}}}' for v in VARIABLES)}" for name in unknown]
    if ".." in pattern.split("/"):
        found.append("'..' is not allowed in a path")
    return found


@dataclass(frozen=True, slots=True)
class Naming:
    """Turns the patterns of one sub-task into keys.

    ``key`` is that of the source object, ``directory`` the resolved output directory (``/…/``),
    ``definition`` the template's id.
    """

    key: str
    directory: str
    definition: int
    number_format: NumberFormat = field(default_factory=NumberFormat)

    def object_key(
        self,
        pattern: str,
        extension: str,
        *,
        number: int | str | None = None,
        suffix: str = "_{number}",
        several: bool = False,
        sub_stream: int | None = None,
    ) -> str:
        """The key of one output file.

        ``number`` counts from 0, or is a word that stands in its place; ``sub_stream`` counts the renditions of a
        ladder. ``several`` says that the step makes more than one file, so that a
        pattern without any ``{number}`` gets ``suffix`` rather than overwriting itself.
        """
        if several and "{number}" not in pattern and "{segmentNumber}" not in pattern:
            stem, dot, tail = pattern.rpartition(".")
            pattern = f"{stem}{suffix}{dot}{tail}" if dot and "/" not in tail else f"{pattern}{suffix}"
        path = self._fill(self._with_extension(pattern, extension), extension, number, sub_stream)
        return self._place(path)

    def literal(self, path: str) -> str:
        """The key of a file whose name is not ours to choose: only a leading ``{inputName}`` is filled in."""
        return self._place(path.replace("{inputName}", self._values("", None)["inputName"], 1))

    def echo(self, pattern: str, *, absolute: bool = False) -> str:
        """The pattern as results show it: filled in, but for what differs from file to file."""
        kept = {"format", "number", "subStreamNumber", "segmentNumber"}
        values = self._values("", None) | {name: f"{{{name}}}" for name in kept}
        path = _VARIABLE.sub(lambda match: values.get(match[1], match[0]), pattern)
        return path if path.startswith("/") or not absolute else self.directory + path

    @staticmethod
    def _with_extension(pattern: str, extension: str) -> str:
        if pattern.endswith((".{format}", f".{extension}")):
            return pattern
        return f"{pattern}.{{format}}"

    def _fill(self, pattern: str, extension: str, number: int | str | None, sub_stream: int | None) -> str:
        values = self._values(extension, number) | {"subStreamNumber": str(sub_stream or 0)}
        return _VARIABLE.sub(lambda match: values.get(match[1], match[0]), pattern)

    def _values(self, extension: str, number: int | str | None) -> dict[str, str]:
        name = posixpath.basename(self.key)
        source_extension = extension_of(self.key)
        text = self.number_format.render(number) if isinstance(number, int) else number
        return {
            "inputName": name[: -len(source_extension) - 1] if source_extension else name,
            "inputFormat": source_extension,
            "inputDir": directory_of(self.key).strip("/"),
            "definition": str(self.definition),
            "format": extension,
            "number": text or "",
            "subStreamNumber": "0",
            "segmentNumber": text or "",
        }

    def _place(self, path: str) -> str:
        key = (path if path.startswith("/") else self.directory + path).removeprefix("/")
        parts = key.split("/")
        if any(part in ("", ".", "..") for part in parts) or any(ord(char) < 32 for char in key):
            raise MediaError(
                "InvalidInput", f"the output path {key!r} has an empty, '.' or '..' part or a control character"
            )
        if len(key.encode("utf-8", "surrogateescape")) > MAX_KEY_BYTES:
            raise MediaError("InvalidInput", f"the output path is longer than {MAX_KEY_BYTES} bytes: {key[:80]!r}…")
        return key


def output_directory(key: str, output_dir: str) -> str:
    """The directory results go to: the workflow's, else that of the source."""
    return output_dir or directory_of(key)


def relative_url(key: str, manifest: str) -> str:
    """How a manifest names another object: relative to its own key, quoted."""
    return quote(posixpath.relpath(key, posixpath.dirname(manifest) or "."))


def beside(key: str, pattern: str) -> str:
    """A relative pattern as one that starts in the directory of ``key``."""
    return posixpath.join("/" + posixpath.dirname(key), pattern)
