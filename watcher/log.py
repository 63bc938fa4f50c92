"""Structured logs: readable on a terminal, JSON under systemd, one good line per finished task."""

from __future__ import annotations

import logging
import os
import sys
from typing import Literal

# structlog looks for rich when it is imported, which takes a tenth of the start of a daemon that never uses it.
_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
    from structlog.typing import FilteringBoundLogger, Processor
finally:
    if _rich is None:
        del sys.modules["rich"]
    else:
        sys.modules["rich"] = _rich

Format = Literal["auto", "console", "json"]
Level = Literal["debug", "info", "warning", "error"]


def setup(level: Level = "info", form: Format = "auto") -> None:
    """Send the logs of this process to standard output.

    ``auto`` means JSON when systemd collects the output (it sets ``JOURNAL_STREAM``) and text otherwise.
    """
    as_json = form == "json" or (form == "auto" and "JOURNAL_STREAM" in os.environ and not sys.stdout.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
    ]
    last: list[Processor]
    if as_json:
        last = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(default=str)]
    else:
        last = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=32
            )
        ]
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    _route_libraries(shared, last)


def _route_libraries(shared: list[Processor], last: list[Processor]) -> None:
    """What libraries say through ``logging`` looks like our own lines, from warnings upwards."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def get(name: str) -> FilteringBoundLogger:
    """The logger of one part; ``part`` is bound to each of its lines."""
    logger: FilteringBoundLogger = structlog.get_logger(part=name)
    return logger
