"""A program of the operator's that is run over an object, contained like ffmpeg."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from watcher.errors import MediaError
from watcher.media import process
from watcher.media.containment import Containment, Limits


@dataclass(frozen=True, slots=True)
class Program:
    """``command`` with ``{input}`` and ``{output}`` in it; ``timeout`` in seconds."""

    command: tuple[str, ...]
    timeout: float
    network: bool


async def run(program: Program, containment: Containment, limits: Limits, source: Path, out: Path) -> None:
    """Run it to its end in the empty folder ``out``; raises MediaError when it fails.

    Each argument is handed over as it is: there is no shell, and nothing of the object is in the arguments.
    """
    out.mkdir(parents=True, exist_ok=True)
    places = {"{input}": str(source), "{output}": str(out)}
    command = [_filled(argument, places) for argument in program.command]
    wrapped = containment.wrap(command, limits=limits, read=[source], write=out, network=program.network)
    try:
        result = await process.run(
            wrapped, on_line=lambda _: True, timeout=program.timeout, stall=program.timeout, directory=out
        )
    except OSError as error:
        raise MediaError("InternalError", f"{command[0]} can't be started: {error.strerror}") from None
    if result.status != 0:
        raise process.failure(command[0], result, source=str(source))


def _filled(argument: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        argument = argument.replace(name, value)
    return argument
