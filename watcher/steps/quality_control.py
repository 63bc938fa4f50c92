"""Quality control: what is wrong with picture and sound, and when (contract pipelines.md, section 12)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from watcher.model.ai_parts import DIAGNOSED, unsupported
from watcher.model.ai_templates import QualityControlItem, QualityControlTemplate
from watcher.model.findings import Failure, Findings, Part
from watcher.model.inputs import QualityControlInput
from watcher.steps import _detectors as detectors
from watcher.steps._chart import chart
from watcher.steps._intelligent import IntelligentStep, failure_of
from watcher.steps.base import OutputFile, StepOutput

CHART_PATH = "{inputName}_quality_{definition}.{format}"
CODES = ("QRCode", "BarCode")
MOST_TIMES = 100
LACKING = {"VideoStreamLack": "has_picture", "AudioStreamLack": "has_sound"}


class QualityControlStep(IntelligentStep[QualityControlInput, QualityControlTemplate]):
    """The items of the template that are switched on."""

    @property
    def items(self) -> list[QualityControlItem]:
        """What to look for."""
        return [item for item in self.template.quality_control_item_set if item.switch == "ON"]

    def conclude(self, findings: Findings, directory: Path) -> StepOutput:
        """One result; what can't be looked for fails all of it, since the model has no place to say so of one item."""
        missing = unsupported(self.template)
        failure = failure_of(self.parts[0], findings)
        if failure == Findings.no_picture:  # then there are no codes
            failure = None
        if missing:
            failure = Failure("InvalidInput", missing[0])
        if failure is not None:
            return StepOutput((), {"parts": [Part("QualityControl", failure=failure).as_dict()]})
        found = {item.type: self._found(item, findings) for item in self.items}
        rating = detectors.score(findings)
        output: dict[str, Any] = {
            "no_audio": not findings.has_sound,
            "no_video": not findings.has_picture,
            "quality_evaluation_score": rating,
            "quality_evaluation_mean_opinion_score": None if rating is None else round(1 + 4 * rating / 100, 2),
            "quality_control_result_set": [
                {"type": kind, "quality_control_items": [_item(stretch) for stretch in stretches]}
                for kind, stretches in found.items()
                if stretches
            ],
            "container_diagnose_result_set": list(self._diagnosed(findings)),
        }
        key = self.naming.object_key(CHART_PATH, "svg")
        path = directory / f"{self.name}-quality.svg"
        path.write_text(chart(findings, found), encoding="utf-8")
        parts = [Part("QualityControl", output).as_dict()]
        return StepOutput((OutputFile(path, key, "image/svg+xml"),), {"parts": parts})

    def faults(self) -> set[str]:
        return {item.type for item in self.items if item.type in DIAGNOSED}

    def _diagnosed(self, findings: Findings) -> Iterator[dict[str, Any]]:
        """Streams that are missing, and faults of those that are there; the first hundred times of each."""
        for kind in dict.fromkeys(item.type for item in self.items):
            if kind in LACKING and not getattr(findings, LACKING[kind]):
                yield {"category": "StreamInfo", "type": kind, "severity_level": "Fatal"}
            elif findings.faults.get(kind):
                category, severity = DIAGNOSED[kind]
                times = list(findings.faults[kind][:MOST_TIMES])
                yield {"category": category, "type": kind, "severity_level": severity, "timestamp_set": times}

    def _found(self, item: QualityControlItem, findings: Findings) -> list[detectors.Stretch]:
        kind = item.type
        if kind in CODES:
            return detectors.of_codes(kind, findings)
        limits = detectors.Limits(
            float(item.threshold) if item.threshold else detectors.THRESHOLD,
            item.duration / 1000 or detectors.SHORTEST.get(kind, detectors.USUAL_SHORTEST),
            item.interval_time / 1000,
        )
        if kind == "ColorBars":
            return detectors.of_bars(findings, limits)
        if kind == "LowEvaluation":
            rating = detectors.score(findings)
            low = rating is not None and rating < limits.threshold
            return [detectors.Stretch(0.0, findings.duration, 100 - (rating or 0))] if low else []
        if kind in detectors.PICTURE:
            return detectors.of_picture(kind, findings, limits)
        return detectors.of_sound(kind, findings, limits) if kind in detectors.SOUND else []


def _item(stretch: detectors.Stretch) -> dict[str, Any]:
    return {
        "confidence": stretch.confidence,
        "start_time_offset": stretch.start,
        "end_time_offset": stretch.end,
        "area_coord_set": list(stretch.box) if stretch.box is not None else None,
    }
