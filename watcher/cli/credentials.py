"""``watcher credentials``: create, list, revoke."""

from __future__ import annotations

import secrets
import signal
import string
from pathlib import Path
from typing import get_args

from rich.table import Table

from watcher.cli import console
from watcher.errors import PermanentError
from watcher.sections import Rights
from watcher.state.credentials import StoredCredential
from watcher.state.store import State

_LETTERS = string.ascii_letters + string.digits


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def _tell(state: State) -> str:
    told = console.signal_daemon(state, signal.SIGHUP)
    return "the running service knows it now" if told else "a service that is started now will know it"


async def create(config: Path | None, rights: str, buckets: tuple[str, ...]) -> None:
    """Make a key pair, of the form that the vendor's have."""
    if rights not in get_args(Rights):
        raise PermanentError(f"{rights!r} is not one of {', '.join(get_args(Rights))}")
    configured = console.load(config)
    made = StoredCredential(f"AKID{_random(32)}", _random(32), rights, buckets)
    async with State(configured.state) as state:
        await state.credentials.add(made)
        after = _tell(state)
    console.out.print(f"SecretId   {made.secret_id}\nSecretKey  {made.secret_key}", highlight=False, soft_wrap=True)
    note = f"rights {rights}, buckets {' '.join(buckets)}; {after}. The SecretKey is not shown again."
    console.err.print(console.safe(note))
    if configured.api.listen is None:
        console.err.print("the API is not served: set `api: {listen: 127.0.0.1:8080}` in the settings")


async def show_list(config: Path | None) -> None:
    """A table without the secret halves."""
    configured = console.load(config)
    table = Table(box=None, pad_edge=False)
    for title in ("SecretId", "rights", "buckets", "from", "made"):
        table.add_column(title, overflow="fold")
    for given in configured.api.credentials:
        table.add_row(given.secret_id, given.rights, console.safe(" ".join(given.buckets)), "settings", "")
    if configured.state.exists:
        async with State(configured.state) as state:
            for stored in await state.credentials.list():
                buckets = console.safe(" ".join(stored.buckets))
                table.add_row(stored.secret_id, stored.rights, buckets, "command", console.ago(stored.create_time))
    console.out.print(table if table.row_count else "no key pairs; make one with `watcher credentials create`")


async def revoke(config: Path | None, secret_id: str) -> None:
    """Forget one; a running service is told."""
    configured = console.load(config)
    if any(given.secret_id == secret_id for given in configured.api.credentials):
        raise PermanentError(f"{secret_id} is in the settings, under `api.credentials`; remove it there")
    async with console.state_of(configured) as state:
        if not await state.credentials.revoke(secret_id):
            raise PermanentError(f"there is no key pair {secret_id}")
        after = _tell(state)
    console.out.print(f"{secret_id} is revoked; {after}")
