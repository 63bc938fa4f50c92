"""The contract of a provider: what a model finds in pictures or sound that were taken out of the media.

Providers run in processes of their own (:mod:`watcher.inference._child`), because native code that is given hostile
media may crash, and memory of models is given back only by a process that ends.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from watcher import plugin
from watcher.model.findings import Capability


@dataclass(frozen=True, slots=True)
class Chosen:
    """The provider of a capability: its type by name, its class, and its options as they are configured."""

    name: str
    provider: type[Provider]
    options: dict[str, Any]
    files: tuple[Path, ...] = ()
    """What its process has to read."""


class Provider(ABC):
    """One model, or one address where a model is served. Made without its libraries; ``load`` brings them in."""

    serves: ClassVar[tuple[Capability, ...]]
    """What it can do."""
    library: ClassVar[tuple[str, str]] = ("", "")
    """The module it needs, and the extra of this project that installs it."""
    network: ClassVar[bool] = False
    """Whether its process may open connections."""

    def __init__(self, options: Any) -> None:
        self.options = options

    @classmethod
    def files(cls, options: plugin.Options) -> list[Path]:
        """The folders and files that its process has to read, besides the libraries."""
        return []

    @classmethod
    def problem(cls, options: plugin.Options) -> str:
        """What is missing for it to work, in words that say what to do; empty where nothing is."""
        module, extra = cls.library
        if module and importlib.util.find_spec(module) is None:
            return f"needs {module}: pip install 'watcher[{extra}]'"
        return ""

    @abstractmethod
    def load(self) -> None:
        """Load the model; called once, before the first work. Raises ValueError with a sentence."""

    @abstractmethod
    def work(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What is found, as plain data, as soon as it is. Raises ValueError with a sentence.

        ``text``: the request has ``pictures``, paths of files; an answer has the ``index`` of one and ``lines``, each
        with ``text``, ``confidence`` (0 to 100) and ``box`` (left, top, right, bottom in pixels of the picture).
        ``codes``: likewise, with ``codes``, each with ``kind`` (``QRCode`` or ``BarCode``), ``text`` and ``box``.
        ``faces``: the request has ``samples`` besides, paths of pictures of one face each by a name; the first answer
        has those that are ``unusable``, the others ``faces``, each with its ``box`` and the samples that are ``near``,
        each ``sample`` with its ``distance`` (0 is the same picture; 0.6 is where people begin to be mixed up).
        ``speech``: the request has ``sound``, the path of a WAV file of 16 000 Hz, one channel, 16 bits, and
        ``language`` (empty: not known); an answer has ``start``, ``end`` (seconds), ``text``, ``confidence`` and
        ``words``, each with ``text``, ``start`` and ``end``.
        ``vision``: pictures; an answer has an ``index``, a ``category`` and ``tags``, each with ``name`` and
        ``confidence``; not every picture needs an answer.
        ``objects`` and ``violence``: pictures; an answer has an ``index`` and ``objects``, each with ``name``,
        ``confidence`` and a ``box`` (None where nobody knows the place).
        ``cuts``: the request has ``film``, the path of a small film; an answer has a ``time`` in seconds.
        ``description``: pictures, ``step`` (seconds between two), ``duration``, ``said`` (pairs of seconds and text)
        and ``language``; the one answer has ``title``, ``description``, ``keywords``, ``confidence`` and
        ``paragraphs``, each with ``start``, ``end``, ``title``, ``summary`` and ``keywords``.
        ``translation``: the request has ``texts``, the ``language`` to translate into and that of the ``source``
        (empty: not known); an answer for each has its ``text``, in their order.
        The request's ``capability`` says which one is meant.
        """
