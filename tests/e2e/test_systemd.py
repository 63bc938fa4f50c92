"""The unit file: systemd reads it without a complaint, and thinks well of its sandbox."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import parts

UNIT = Path(__file__).parents[2] / "systemd" / "watcher.service"


def test_unit_is_valid(tmp_path: Path) -> None:
    """`systemd-analyze verify`, with the program of this installation in place of the one in /opt."""
    copy = tmp_path / "watcher.service"
    copy.write_text(UNIT.read_text().replace("/opt/watcher/bin/watcher", sys.executable))
    result = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_unit_is_confined() -> None:
    """The exposure level stays low: below 3 is what systemd calls OK."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"Overall exposure level for watcher.service: ([0-9.]+)", text)
    assert found, text
    assert float(found[1]) < 3.0


def test_signs_of_life(daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path) -> None:
    """READY, then WATCHDOG as often as asked, then STOPPING; JSON lines when the journal collects them."""
    service = daemon(folders, parts.workflow("inbox-1250000000", OutputDir="/out/"))
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(20)
        environment = {**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "600000", "JOURNAL_STREAM": "8:1"}
        command = [sys.executable, "-m", "watcher", "run", "--config", str(service.config)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        told: list[str] = []
        for wanted in ("READY=1", "WATCHDOG=1", "WATCHDOG=1"):
            told.append(systemd.recv(4096).decode())
            assert wanted in told[-1]
        process.terminate()
        while "STOPPING=1" not in told[-1]:
            told.append(systemd.recv(4096).decode())
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["event"] for line in lines if line["event"] in ("ready", "stopped")] == ["ready", "stopped"]
    assert all(line["level"] in ("info", "warning") for line in lines)
