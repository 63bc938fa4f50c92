"""The unit file: systemd reads it without a complaint, and thinks well of its sandbox."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

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
