"""What keeps an ffmpeg that reads hostile media from doing harm.

Strongest first: ``bubblewrap`` (own namespaces: no network, no file system but the program, the input
read-only and the output folder), else ``limits`` (resource limits and no new privileges). Both come with a
parent-death signal, so that a killed daemon leaves no ffmpeg behind. Which one is in force is tried at start,
not assumed, and logged.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal

Kind = Literal["bubblewrap", "limits"]

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/fonts", "/etc/alternatives")
_NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl", "/etc/ca-certificates")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one process. ``memory`` and ``file_size`` in bytes, ``cpu`` in seconds of CPU time."""

    memory: int
    cpu: int
    file_size: int
    open_files: int = 4096


@dataclass(frozen=True, slots=True)
class Containment:
    """Wraps the command of a process in what contains it."""

    kind: Kind
    tools: dict[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    """Device files of an encoder in hardware. Its driver reserves more addresses than any limit of memory would allow,
    so there is none then."""

    def with_devices(self, devices: tuple[str, ...]) -> Containment:
        """The same, with devices that may be used."""
        return replace(self, devices=devices)

    def wrap(
        self, command: list[str], *, limits: Limits, read: list[Path], write: Path | None, network: bool = False
    ) -> list[str]:
        """The command with its containment around it: ``read`` may be read, ``write`` is the one writable folder."""
        prefix: list[str] = []
        memory = [] if self.devices else [f"--as={limits.memory}"]
        if "prlimit" in self.tools:
            prefix += [
                self.tools["prlimit"], *memory, f"--cpu={limits.cpu}:{limits.cpu + 5}",
                f"--fsize={limits.file_size}", f"--nofile={limits.open_files}", "--core=0", "--",
            ]  # fmt: skip
        if self.kind == "bubblewrap":
            return [*prefix, *self._bubblewrap(read, write, network), "--", *command]
        if "setpriv" in self.tools:
            prefix += [self.tools["setpriv"], "--pdeathsig", "KILL", "--no-new-privs", "--"]
        return [*prefix, *command]

    def _bubblewrap(self, read: list[Path], write: Path | None, network: bool) -> list[str]:
        arguments = [self.tools["bwrap"], "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
        for path in (*_SYSTEM, *(_NETWORK if network else ())):
            arguments += ["--ro-bind-try", path, path]
        if network:
            arguments.append("--share-net")
        # No /proc: nothing in there needs it, and under ProtectKernelTunables= it could not be mounted.
        arguments += ["--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108  the sandbox's own
        for device in self.devices:
            arguments += ["--dev-bind-try", device, device]
        for file in read:
            arguments += ["--ro-bind", str(file.resolve()), str(file)]
        if write is not None:
            arguments += ["--bind", str(write), str(write), "--chdir", str(write)]
        return arguments


async def detect(wanted: Literal["auto", "bubblewrap", "limits"] = "auto") -> Containment:
    """The strongest containment that works here, or the one wanted."""
    tools = {name: path for name in ("prlimit", "setpriv", "bwrap") if (path := shutil.which(name))}
    if wanted != "limits" and "bwrap" in tools and await _works(tools["bwrap"]):
        return Containment("bubblewrap", tools)
    return Containment("limits", tools)


async def _works(bwrap: str) -> bool:
    """Whether bubblewrap may make namespaces here: kernels and containers often forbid it."""
    binds = [item for path in _SYSTEM for item in ("--ro-bind-try", path, path)]
    process = await asyncio.create_subprocess_exec(
        bwrap, "--unshare-all", "--die-with-parent", *binds, "--dev", "/dev", "--", "/bin/true",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await process.wait() == 0


@cache
def python_paths(*modules: str) -> tuple[Path, ...]:
    """The folders a Python child needs to read: the interpreter's, and those that hold the modules."""
    folders = {Path(sys.prefix), Path(sys.base_prefix), Path(os.path.realpath(sys.executable)).parent.parent}
    folders |= {module_folder(name) for name in modules}
    found = sorted(path for path in folders if path.is_dir())
    return tuple(path for path in found if not any(path != other and path.is_relative_to(other) for other in found))


@cache
def module_folder(name: str) -> Path:
    """The folder on ``sys.path`` that a package is in."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name)
    return Path(spec.origin).resolve().parents[1]
