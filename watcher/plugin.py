"""How a ``type:`` in the configuration becomes an object: one implementation, one file.

In each family (sources, storage, notifiers, executors) the module ``<family>/<type>.py`` holds a class
``Options`` that describes itself and one subclass of the family's contract. Modules are imported only
when a configuration names them, so that an unused broker or cloud library costs nothing.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)\Z")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)\Z")
_BYTE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTE_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def _seconds(value: object) -> object:
    if isinstance(value, str) and (match := _DURATION.match(value.strip())):
        return float(match[1]) * _DURATION_UNITS[match[2]]
    return value


def _bytes(value: object) -> object:
    if isinstance(value, str) and (match := _BYTES.match(value.strip())):
        return int(float(match[1]) * _BYTE_UNITS[match[2]])
    return value


Seconds = Annotated[float, BeforeValidator(_seconds)]
"""A duration: a number of seconds, or a text such as ``500ms``, ``30s``, ``5m``, ``2h``, ``7d``."""

Bytes = Annotated[int, BeforeValidator(_bytes)]
"""An amount of data: a number of bytes, or a text such as ``64MiB``, ``8GiB``, ``1GB``."""


class Options(BaseModel):
    """Base of all options: unknown keys are refused, values can't change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class UnknownTypeError(LookupError):
    """No implementation has this name; the text lists those there are."""


def names(family: str) -> list[str]:
    """The types a family offers, e.g. ``["cos", "local", "memory", "s3"]`` for ``storage``."""
    package = importlib.import_module(f"watcher.{family}")
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in found if name != "base" and not name.startswith("_"))


@cache
def implementation(family: str, type_name: str, contract: type) -> Any:
    """The subclass of the family's contract that ``type_name`` stands for."""
    if type_name not in names(family):
        raise UnknownTypeError(f"there is no type {type_name!r}; use one of: {', '.join(names(family))}")
    module = importlib.import_module(f"watcher.{family}.{type_name}")
    for _, member in inspect.getmembers(module, inspect.isclass):
        if issubclass(member, contract) and member.__module__ == module.__name__:
            return member
    raise UnknownTypeError(f"watcher/{family}/{type_name}.py has no subclass of {contract.__name__}")


def find(family: str, type_name: str, contract: type) -> tuple[type[Options], Any]:
    """The options class and the implementation that ``type_name`` stands for."""
    found = implementation(family, type_name, contract)
    options: type[Options] = importlib.import_module(found.__module__).Options
    return options, found


def sentence(error: Any) -> str:
    """A pydantic error as a sentence, with the value that was refused."""
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return message
    return f"{message[:1].lower()}{message[1:]}, not {str(error['input'])[:80]!r}"
