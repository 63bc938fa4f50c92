"""The command ``watcher``, and ``python -m watcher``."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line.

    Until its modules are read there is nothing to put in order: Ctrl-C ends it at once. Python would show a traceback,
    and loses a KeyboardInterrupt that comes in a callback, such as those of an import.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from watcher.cli import main as command_line  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.default_int_handler)
    command_line()


if __name__ == "__main__":
    main()
