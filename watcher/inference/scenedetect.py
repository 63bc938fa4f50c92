"""Cuts by PySceneDetect: hard ones by its adaptive detector, fades by its threshold detector.

``pip install 'watcher[analysis]'``. It reads a small film that was made in the shared decode.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from watcher import plugin
from watcher.inference.base import Provider


class Options(plugin.Options):
    """Finds cuts."""

    threshold: Annotated[float, Field(gt=0, le=100)] = 3.0
    """How far the change of a picture has to stand out of those around it (``adaptive_threshold`` of PySceneDetect)."""
    least_change: Annotated[float, Field(ge=0, le=255)] = 15.0
    """The least change of a picture at a cut (``min_content_val``)."""
    fades: bool = True
    """Whether the middle of a fade through black is a cut too."""


class SceneDetectProvider(Provider):
    """See the module."""

    serves: ClassVar = ("cuts",)
    library: ClassVar = ("scenedetect", "analysis")
    options: Options

    def load(self) -> None:
        import scenedetect  # noqa: F401, PLC0415

    def work(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        from scenedetect import AdaptiveDetector, SceneManager, ThresholdDetector, open_video  # noqa: PLC0415
        from scenedetect.video_stream import VideoOpenFailure  # noqa: PLC0415

        try:
            film = open_video(request["film"])
        except (OSError, VideoOpenFailure):
            raise ValueError("the small film can't be read") from None
        manager = SceneManager()
        manager.auto_downscale = False
        shortest = max(1, round(0.4 * float(film.frame_rate)))
        manager.add_detector(
            AdaptiveDetector(
                adaptive_threshold=self.options.threshold,
                min_content_val=self.options.least_change,
                min_scene_len=shortest,
            )
        )
        if self.options.fades:
            manager.add_detector(ThresholdDetector(min_scene_len=shortest))
        manager.detect_scenes(film)
        for _, end in manager.get_scene_list(start_in_scene=True)[:-1]:
            yield {"time": end.get_seconds()}
