"""Subtitle files of what was said: WebVTT (W3C) and SubRip."""

from __future__ import annotations

from collections.abc import Sequence

import pysubs2

from watcher.model.findings import Utterance


def _file(utterances: Sequence[Utterance]) -> pysubs2.SSAFile:
    file = pysubs2.SSAFile()
    for utterance in utterances:
        start, end = round(utterance.start * 1000), round(utterance.end * 1000)
        event = pysubs2.SSAEvent(start, max(end, start + 1))
        event.plaintext = utterance.text
        file.append(event)
    return file


def vtt(utterances: Sequence[Utterance]) -> str:
    """As WebVTT."""
    return _file(utterances).to_string("vtt")


def srt(utterances: Sequence[Utterance]) -> str:
    """As SubRip."""
    return _file(utterances).to_string("srt")
