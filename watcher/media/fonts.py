"""Fonts by the file names that templates use, from a folder of the operator's and those of the system.

The names of the model (``arial.ttf``, ``simkai.ttf``, ``hei.ttf`` …) are of fonts that may not be passed on, so a
free one of the same kind stands in when the file itself is not there: the first that has all the characters.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from watcher.errors import MediaError

SYSTEM = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
SUFFIXES = frozenset({".ttf", ".otf", ".ttc"})
STAND_INS = (
    "LiberationSans-Regular", "Arimo-Regular", "DejaVuSans", "NotoSans-Regular", "NotoSansCJK-Regular",
    "NotoSansCJKsc-Regular", "wqy-microhei", "wqy-zenhei", "DroidSansFallbackFull", "DroidSansFallback", "FreeSans",
)  # fmt: skip
"""Tried in this order; file names without their extension."""


def installed(folder: Path | None) -> int:
    """How many font files there are to choose from."""
    return len(_installed(folder))


def find(name: str, text: str, folder: Path | None) -> Path:
    """The font file to draw ``text`` with; raises MediaError when no font that is installed has its characters."""
    there = _installed(folder)
    wanted = [there[key] for key in (name.lower(),) if key in there]
    for stem in STAND_INS:
        wanted += [there[key] for suffix in SUFFIXES if (key := f"{stem}{suffix}".lower()) in there]
    wanted += sorted(there.values())
    needed = {ord(char) for char in text if not char.isspace() and char.isprintable()}
    for path in dict.fromkeys(wanted):
        if needed <= _characters(path):
            return path
    if not there:
        raise MediaError("InternalError", "no font is installed: install fonts-dejavu-core, or set media.fonts")
    raise MediaError(
        "InternalError",
        f"no font that is installed has all the characters of the text (asked for: {name}); "
        "install one that has (fonts-noto-cjk for Chinese, Japanese and Korean), or set media.fonts",
    )


def full_name(path: Path) -> str:
    """The name that a subtitle style calls this one font by."""
    from fontTools.ttLib import TTFont, TTLibError  # noqa: PLC0415  not every daemon draws text

    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            return str(font["name"].getDebugName(4) or path.stem)
    except (TTLibError, OSError, KeyError, ValueError):
        raise MediaError("InvalidInput", "the font file can't be read") from None


def _installed(folder: Path | None) -> dict[str, Path]:
    """Files by their lower-case names; those of the operator win."""
    found: dict[str, Path] = {}
    for place in (*reversed(SYSTEM), *((folder,) if folder else ())):
        found |= {path.name.lower(): path for path in _files(place)}
    return found


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES)


@functools.lru_cache(maxsize=64)
def _characters(path: Path) -> frozenset[int]:
    from fontTools.ttLib import TTFont, TTLibError  # noqa: PLC0415

    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            return frozenset(font.getBestCmap() or ())
    except (TTLibError, OSError, KeyError, ValueError):
        return frozenset()
