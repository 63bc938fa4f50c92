"""Time from exec to ready, and memory when idle."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from tests import parts
from tests.benchmarks.figures import Figure

ROUNDS = 7


def _resident(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise LookupError(process)


def run(root: Path) -> list[Figure]:
    """A daemon over two folders with a broker configured, as on a small machine."""
    for name in ("in", "out"):
        (root / name).mkdir()
    settings = {
        "storages": {name: {"type": "local", "root": str(root / name)} for name in ("in", "out")},
        "sources": {"s": {"type": "folder", "storage": "in"}},
        "notifiers": {"broker": {"type": "mqtt", "host": "127.0.0.1"}},
    }
    daemon = parts.Daemon(root / "d", settings, [parts.workflow("in", OutputDir="/out/")])
    times: list[float] = []
    memory: list[float] = []
    try:
        for number in range(ROUNDS + 1):
            started = time.perf_counter()
            daemon.start()
            if number:  # the first start migrates an empty state
                times.append(time.perf_counter() - started)
            time.sleep(1.0)
            memory.append(_resident(daemon.process.pid))
            daemon.stop()
    finally:
        daemon.close()
    seconds, megabytes = statistics.median(times), max(memory)
    return [
        Figure("start to ready", f"{seconds:.2f} s", "< 0.7 s", seconds < 0.7),
        Figure("idle memory (RSS)", f"{megabytes:.0f} MB", "< 90 MB", megabytes < 90),
    ]
