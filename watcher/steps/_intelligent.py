"""What steps that models work on have in common: they say what they need, and make results of what was found."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from watcher.media.assets import Assets
from watcher.media.extraction import Extraction
from watcher.media.render import Render
from watcher.media.verify import Produced
from watcher.model.ai_parts import Needed, WantedPart, wanted_parts
from watcher.model.ai_templates import AITemplate
from watcher.model.findings import Box, Failure, Findings, SeenFace
from watcher.model.inputs import StepInput
from watcher.model.media_info import MediaInfo
from watcher.model.samples import FilmEnds, KnownPerson, Person
from watcher.steps.base import Step, StepOutput

I = TypeVar("I", bound=StepInput)  # noqa: E741
T = TypeVar("T", bound=AITemplate)
V = TypeVar("V")

_PICTURED: frozenset[Needed] = frozenset(
    {"text", "codes", "faces", "nudity", "vision", "violence", "objects", "description"}
)
"""What is looked for in pictures."""
REPORT_PATH = "{inputName}_{kind}_{definition}.{format}"


def runs(seen: Sequence[tuple[float, V | None]], findings: Findings) -> Iterator[tuple[float, float, list[V]]]:
    """Neighbouring pictures in which there is something: when that begins and ends, and what there is in each."""
    together: list[tuple[float, V]] = []
    for time, thing in (*seen, (0.0, None)):
        if thing is not None:
            together.append((time, thing))
            continue
        if together:
            end = together[-1][0] + findings.step
            yield together[0][0], round(min(end, findings.duration or end), 3), [thing for _, thing in together]
        together = []


def seen_persons(
    findings: Findings, persons: Sequence[KnownPerson], least: float
) -> Iterator[tuple[Person, list[tuple[float, SeenFace | None]]]]:
    """Each of the persons that is seen, with the face at each time: a face is the one's whom it is most like."""
    owners = {name: known.person for known in persons for name, _ in known.pictures}
    by_person: dict[str, dict[float, SeenFace]] = {known.person.person_id: {} for known in persons}
    for time, faces in findings.faces:
        nearest: dict[Box, SeenFace] = {}
        for face in faces:
            known = nearest.get(face.box)
            if face.face_id in owners and face.likeness >= least and (known is None or face.likeness > known.likeness):
                nearest[face.box] = face
        for face in nearest.values():
            of_person = by_person[owners[face.face_id].person_id]
            if time not in of_person or face.likeness > of_person[time].likeness:
                of_person[time] = face
    for known_person in persons:
        person = known_person.person
        found = by_person[person.person_id]
        if found:
            yield person, [(time, found.get(time)) for time, _ in findings.faces]


def failure_of(part: WantedPart, findings: Findings) -> Failure | None:
    """Why something that a part needs found nothing out; None where all did."""
    return next((findings.failures[needed] for needed in part.all_needs if needed in findings.failures), None)


class IntelligentStep(Step[I, T]):
    """A sub-task of several parts; one that fails leaves the others alone. ``findings`` are set before ``collect``.

    ``cut`` are the files of its :meth:`clips` by the names of their renders; ``clip_failure`` says why one is missing.
    """

    findings: Findings
    clip_failure: Failure | None = None

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.cut: dict[str, Path] = {}

    def renders(self, media: MediaInfo, assets: Assets) -> list[Render]:
        """None of its own: all such steps of a task share one extraction."""
        return []

    @property
    def parts(self) -> tuple[WantedPart, ...]:
        """What the template switches on."""
        return wanted_parts(self.template)

    @property
    def report_key(self) -> str:
        """The key of the results as a file."""
        return self.naming.object_key(REPORT_PATH.replace("{kind}", self.spec.kind), "json")

    def needs(self, served: Collection[Needed]) -> set[Needed]:
        """What has to be found for it, and what makes it better of what is ``served``."""
        needed = {name for part in self.parts for name in part.all_needs}
        return needed | {name for part in self.parts for name in part.uses if name in served}

    def extraction(self, step: float, needs: Collection[Needed]) -> Extraction:
        """What has to be taken out of the source; ``step`` is the usual time between two pictures, in seconds."""
        pictured = not _PICTURED.isdisjoint(needs) or self.shows_pictures()
        return Extraction(
            step if pictured else 0.0,
            sound="speech" in needs,
            measures="measures" in needs,
            motion="cuts" in needs,
            fingerprint="fingerprint" in needs,
            bars="bars" in needs,
        )

    def shows_pictures(self) -> bool:
        """Whether pictures are among its results."""
        return False

    def language(self) -> str:
        """The language that is spoken, as the template has it; empty where nobody said."""
        return ""

    def translate_to(self) -> set[str]:
        """The languages that speech is to be translated into."""
        return set()

    def describe_in(self) -> set[str]:
        """The languages that the film is to be described in; an empty one is that of the film."""
        return set()

    def faults(self) -> set[str]:
        """The faults of the streams that it looks for, by the model's types."""
        return set()

    def ends(self) -> FilmEnds | None:
        """What other films may have in common with this one; None unless it was asked for."""
        return None

    def clips(self, media: MediaInfo) -> list[Render]:
        """What is to be cut out of the source because of what was found."""
        return []

    def collect(self, produced: list[Produced], directory: Path) -> StepOutput:
        """Results and files of what was found."""
        return self.conclude(self.findings, directory)

    @abstractmethod
    def conclude(self, findings: Findings, directory: Path) -> StepOutput:
        """The item has ``parts``, each a :meth:`watcher.model.findings.Part.as_dict`."""
