"""The aims of the project as figures: ``python -m tests.benchmarks`` runs all of them and prints a table.

Wall times depend on the machine; what counts are ratios within one run. Name benchmarks to run only those:
``python -m tests.benchmarks ai api discovery media latency intake start``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks import ai, api, discovery, intake, latency, media, start
from tests.benchmarks.figures import Figure

ALL = {
    "ai": ai.run, "api": api.run, "discovery": discovery.run, "media": media.run, "latency": latency.run,
    "intake": intake.run, "start": start.run,
}  # fmt: skip


def main() -> None:
    """Run what was asked for."""
    wanted = sys.argv[1:] or list(ALL)
    unknown = [name for name in wanted if name not in ALL]
    if unknown:
        raise SystemExit(f"there is no benchmark {unknown[0]!r}; there is: {', '.join(ALL)}")
    table = Table(title="watcher benchmarks")
    for title in ("benchmark", "figure", "value", "aim", "met"):
        table.add_column(title, overflow="fold")
    progress = Console(stderr=True)
    for name in wanted:
        progress.print(f"running {name} …")
        with tempfile.TemporaryDirectory(prefix="watcher-bench-") as folder:
            figures: list[Figure] = ALL[name](Path(folder))
        for figure in figures:
            table.add_row(name, figure.name, figure.text, figure.aim, figure.verdict)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
