"""A short soak: what must not grow does not. ``python -m tests.soak`` is the long one."""

from __future__ import annotations

from tests.soak.run import KEYS, soak


async def test_nothing_grows() -> None:
    """The last third of the time needs no more than the one before: memory, files, ledger, tasks."""
    looks = await soak(18, lambda look: None)
    third = len(looks) // 3
    middle, last = looks[third : 2 * third], looks[2 * third :]
    assert looks[-1].made > 300, "objects did come"
    assert max(look.memory for look in last) < max(look.memory for look in middle) + 12
    assert max(look.files for look in last) <= max(look.files for look in middle) + 8
    assert max(look.versions for look in last) < 6 * KEYS
    assert max(look.tasks for look in last) < KEYS
