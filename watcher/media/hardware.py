"""Encoders in hardware: which of them work on this machine, found by trying rather than by asking."""

from __future__ import annotations

import asyncio
from pathlib import Path

from watcher import log

_log = log.get("media")

FAMILIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "nvenc": ((), ("-vf", "format=nv12", "-c:v", "h264_nvenc")),
    "qsv": ((), ("-vf", "format=nv12", "-c:v", "h264_qsv")),
    "vaapi": (("-vaapi_device", "/dev/dri/renderD128"), ("-vf", "format=nv12,hwupload", "-c:v", "h264_vaapi")),
}
"""Per family: global options, and how a frame is encoded. In the order in which they are tried."""
TIMEOUT = 20.0


def input_options(family: str) -> tuple[str, ...]:
    """What a command needs before its inputs to use the family."""
    return FAMILIES[family][0] if family else ()


def devices(family: str) -> tuple[str, ...]:
    """The device files that the family works through."""
    if family == "nvenc":
        return tuple(str(path) for path in sorted(Path("/dev").glob("nvidia*")))
    return ("/dev/dri",) if family else ()


async def detect(program: Path, wanted: str) -> str:
    """The family to encode with; empty for software.

    ``wanted`` is a family, ``auto`` for the first that works, or ``off``. A family that was asked for by name and
    does not work is said in the log; software takes its place.
    """
    if wanted == "off":
        return ""
    for family in FAMILIES if wanted == "auto" else (wanted,):
        if await _works(program, family):
            _log.info("encoding in hardware", family=family)
            return family
    if wanted != "auto":
        _log.warning("no encoding in hardware: it does not work here; software encodes", family=wanted)
    return ""


async def _works(program: Path, family: str) -> bool:
    """Whether one small clip can be encoded."""
    before, encode = FAMILIES[family]
    source = ("-f", "lavfi", "-i", "color=size=320x240:rate=25:duration=0.2")
    child = await asyncio.create_subprocess_exec(
        str(program), "-nostdin", "-v", "quiet", *before, *source, *encode, "-f", "null", "-",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(TIMEOUT):
            return await child.wait() == 0
    except TimeoutError:
        child.kill()
        await child.wait()
        return False
