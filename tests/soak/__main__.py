"""See the package."""

from __future__ import annotations

import asyncio
import sys

from tests.soak.run import Look, soak


def main() -> None:
    """A line every so often, and the first and the last third compared."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0
    shown = [0.0]

    def say(look: Look) -> None:
        if look.seconds - shown[0] > max(1.0, seconds / 60):
            shown[0] = look.seconds
            print(look, flush=True)

    looks = asyncio.run(soak(seconds, say))
    third = len(looks) // 3
    for name in ("memory", "files", "versions", "tasks"):
        early, late = (
            max(getattr(look, name) for look in part) for part in (looks[third : 2 * third], looks[2 * third :])
        )
        print(f"{name}: at most {early:.1f} in the second third, {late:.1f} in the last")


if __name__ == "__main__":
    main()
