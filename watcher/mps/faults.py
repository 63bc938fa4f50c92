"""Errors of the API: their codes, and which one a mistake in a request gets (contract api.md, sections 6 and 7)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from watcher.errors import Problem, WatcherError

_SHOWN = 5
_CODE = {"unknown": "UnknownParameter", "missing": "MissingParameter", "type": "InvalidParameter"}
_WORD = re.compile(r"[A-Z][A-Za-z]*")


class RequestError(WatcherError):
    """A request is refused with a ``code`` of the contract and a sentence that names the field."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


def fault_of(problems: Iterable[Problem], fields: Collection[str] = ()) -> RequestError:
    """The error for the mistakes in one request; ``fields`` are those that have a code of their own."""
    found = list(problems)
    text = "; ".join(str(problem) for problem in found[:_SHOWN])
    if len(found) > _SHOWN:
        text += f"; and {len(found) - _SHOWN} more"
    return RequestError(_code(found[0], fields), text)


def _code(problem: Problem, fields: Collection[str]) -> str:
    code = _CODE.get(problem.kind)
    if code is not None:
        return code
    for name in _names(problem):
        if name in fields:
            return f"InvalidParameterValue.{name}"
    return "InvalidParameterValue"


def _names(problem: Problem) -> list[str]:
    """What the field may be called in a code, the likeliest first: ``VideoTemplate.Codec`` is ``VideoCodec``."""
    parts = re.sub(r"\[\d+\]", "", problem.path).split(".")
    word = _WORD.match(problem.message)
    last = [parts[-1]] if word is None else [word[0], parts[-1]]
    prefix = next((kind for kind in ("Video", "Audio") if any(part.startswith(kind) for part in parts)), "")
    found: list[str] = []
    for name in last:
        found += [f"{prefix}{name}", name] if prefix else [name]
        if name in ("Width", "Height"):
            found.append("Resolution")
        if parts[0] in ("TEHDConfig", "FaceConfigure", "TextTemplate", "SvgTemplate"):
            found.append({"T": "TEHD", "F": "Face"}.get(parts[0][0], "") + name)
            found.append(f"{parts[0]}{name}" if parts[0] == "SvgTemplate" else f"Text{name.removeprefix('Font')}")
    return found + parts[::-1]
