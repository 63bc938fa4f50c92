"""What is wrong with a file's streams rather than with what they show: timestamps, missing frames, decoder errors."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from watcher.errors import MediaError
from watcher.media.graph import OPEN_OPTIONS
from watcher.media.probe import Probe
from watcher.model.ai_parts import DIAGNOSED
from watcher.model.media_info import MediaInfo

PATIENCE = 4.0
"""Times as long as the film lasts may be taken, besides what any call may."""
_CHILD = Path(__file__).with_name("diagnosis_child.py")


async def diagnose(
    probe: Probe, source: Path, media: MediaInfo, wanted: Collection[str]
) -> dict[str, tuple[float, ...]]:
    """The faults of these types that a file has, with the seconds at which they are; raises MediaError.

    Packets are decoded only where a type needs it.
    """
    request = {"path": str(source), "options": OPEN_OPTIONS, "wanted": sorted(set(wanted) & DIAGNOSED.keys())}
    answer = await probe.ask(_CHILD, request, [source], timeout=probe.timeout + PATIENCE * media.duration)
    if "faults" not in answer:
        raise MediaError("InternalError", f"the streams can't be looked at: {answer.get('error')}")
    faults = {str(kind): tuple(float(time) for time in times) for kind, times in answer["faults"].items()}
    if "VideoRotation" in wanted and media.picture is not None and media.picture.rotate:
        faults["VideoRotation"] = (0.0,)
    return faults
