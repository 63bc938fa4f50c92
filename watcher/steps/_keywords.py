"""Finding keywords in what was read and heard."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from watcher.model.findings import Utterance


@lru_cache(maxsize=65_536)  # the same lines are compared with each keyword
def plain(text: str) -> str:
    """Without case, punctuation and further blanks, so that two spellings of the same are the same."""
    return " ".join(re.sub(r"[^\w\s]+", "", unicodedata.normalize("NFKC", text).casefold()).split())


def says(text: str, keyword: str) -> bool:
    """Whether a text holds a keyword: as whole words where it is written in letters with blanks between words."""
    inside, looked_for = plain(text), plain(keyword)
    if not looked_for:
        return False
    if looked_for.isascii():
        return f" {looked_for} " in f" {inside} "
    return looked_for.replace(" ", "") in inside.replace(" ", "")


def spoken_times(keyword: str, utterance: Utterance) -> Iterator[tuple[float, float]]:
    """When a keyword is said: by the words of an utterance where they are known, else its whole time."""
    count = len(keyword.split())
    found = False
    for index in range(len(utterance.words) - count + 1):
        part = utterance.words[index : index + count]
        if plain(" ".join(word.text for word in part)) == plain(keyword):
            found = True
            yield part[0].start, part[-1].end
    if not found and says(utterance.text, keyword):
        yield utterance.start, utterance.end
