"""Telling systemd how the service is: readiness, progress, the end (sd_notify(3))."""

from __future__ import annotations

import os
import socket


def notify(**fields: str | int) -> bool:
    """Send e.g. ``notify(READY=1, STATUS="…")``; False when nobody asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    message = "\n".join(f"{key}={value}" for key, value in fields.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address)
            sender.sendall(message.encode())
        except OSError:
            return False
    return True


def watchdog_interval() -> float | None:
    """Seconds between two signs of life that systemd asked this process for, or None."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 / 3 if microseconds.isdigit() and int(microseconds) > 0 else None
