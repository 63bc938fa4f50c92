"""Sweeps of a bucket of a million objects beside other programs that list it, and notifications through SQS.

Each program lists the same bucket, one after another, on the same machine; ours also records every object in the
ledger, or compares it with the ledger. ``WATCHER_BENCH_KEYS`` changes the number of objects.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import parts
from tests.benchmarks.bucket import record
from tests.benchmarks.figures import Figure
from watcher.catalog import Catalog
from watcher.daemon import calm
from watcher.dispatcher import Dispatcher
from watcher.model.workflow import Workflow
from watcher.mps import files, wire
from watcher.sources import s3_poll, sqs, webhook
from watcher.sources.base import Source
from watcher.state.store import State
from watcher.storage import s3

KEYS = int(os.environ.get("WATCHER_BENCH_KEYS", "1000000"))
MESSAGES = 20_000
RATE, FLOOD, RECORDS = 10_000, 10, 20
"""Events a second, seconds, and events in a request."""
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}


@contextlib.contextmanager
def bucket(keys: int, messages: int) -> Iterator[str]:
    """The address of a bucket that is served by another process."""
    command = [sys.executable, "-m", "tests.benchmarks.bucket", str(keys), str(messages)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


def measured(what: str, url: str, state: Path) -> dict[str, float]:
    """Run one of the functions below in a process of its own; what it measured."""
    command = [sys.executable, "-m", "tests.benchmarks.discovery", what, url, str(state)]
    done = subprocess.run(
        command, check=True, timeout=300, capture_output=True, text=True, env={**os.environ, **ENVIRONMENT}
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def other(command: list[str]) -> float | None:
    """Seconds that another program takes; None where it is not installed."""
    program = shutil.which(command[0], path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if program is None:
        return None
    started = time.perf_counter()
    subprocess.run(
        [program, *command[1:]], check=True, timeout=600, stdout=subprocess.DEVNULL, env={**os.environ, **ENVIRONMENT}
    )
    return time.perf_counter() - started


def run(root: Path) -> list[Figure]:
    """All of it."""
    figures: list[Figure] = []
    with bucket(KEYS, 0) as url:
        first, again = (measured("sweep", url, root / "s.db") for _ in range(2))
        later = measured("later", url, root / "s.db")
        rclone = f":s3,provider=Other,list_version=2,endpoint='{url}',access_key_id=k,secret_access_key=s:bench"
        others = {
            "rclone lsf -R": other(["rclone", "lsf", "-R", "--fast-list", "--files-only", rclone]),
            "s5cmd ls": other(["s5cmd", "--endpoint-url", url, "ls", "s3://bench/*"]),
            "aws s3 ls --recursive": other(["aws", "--endpoint-url", url, "s3", "ls", "--recursive", "s3://bench"]),
            "aiobotocore, list only": measured("bare", url, root)["seconds"],
        }
    size = (root / "s.db").stat().st_size / KEYS
    names = ("first sweep", "first sweep of a process, all known", "later sweep, all known")
    for name, found in zip(names, (first, again, later), strict=True):
        text = f"{found['seconds']:.1f} s, CPU {found['cpu']:.1f} s, {KEYS / found['seconds']:,.0f} keys/s"
        figures.append(Figure(f"{name} of {KEYS:,} keys", text))
        met = found["lag"] < 50
        figures.append(
            Figure(f"{name}: event-loop lag p99 (max)", f"{found['lag']:.0f} ({found['worst']:.0f}) ms", "< 50 ms", met)
        )
        figures.append(Figure(f"{name}: peak memory", f"{found['memory']:.0f} MB", "< 200 MB", found["memory"] < 200))
    figures.append(Figure("ledger on disk", f"{size:.0f} B/object", "≤ 130 B", size <= 130))
    for name, seconds in others.items():
        if seconds is None:
            figures.append(Figure(f"{name}", "not installed"))
            continue
        needed = name.startswith(("rclone", "aiobotocore"))
        for what, found in (("first sweep", first), ("all known", again), ("later sweep", later)):
            ratio = found["seconds"] / seconds
            aimed = needed
            figures.append(
                Figure(f"{what} / {name} ({seconds:.1f} s)", f"{ratio:.2f}", "< 1" if aimed else "",
                       ratio < 1 if aimed else None)
            )  # fmt: skip
    with bucket(MESSAGES, MESSAGES) as url:
        found = measured("queue", url, root / "q.db")
    figures.append(Figure("new objects through SQS, with a HEAD each, committed, deleted", f"{found['rate']:,.0f}/s"))
    figures.append(Figure("the same: event-loop lag p99", f"{found['lag']:.0f} ms", "< 50 ms", found["lag"] < 50))
    with bucket(MESSAGES, MESSAGES) as url:
        found = measured("queue", url, root / "q.db")
    met = found["rate"] >= 3000
    figures.append(Figure("known objects through SQS, committed, deleted", f"{found['rate']:,.0f}/s", "≥ 3 000/s", met))
    with bucket(MESSAGES, 0) as url:
        fresh, known = (flood(url, root / "h.db") for _ in range(2))
    what = f"webhook, {RATE:,} events/s for {FLOOD} s, {RECORDS} in a request"
    for name, found, aimed in ((f"{what}, a fifth of them new", fresh, False), (f"{what}, all known", known, True)):
        answers = f"p50 {found['p50']:.0f}, p99 {found['p99']:,.0f} ms, {found['refused']:.0%} refused"
        met = found["p99"] < 50
        figures.append(Figure(f"{name}: answers", answers, "p99 < 50 ms" if aimed else "", met if aimed else None))
        rest = f"{found['lag']:.0f} ms, {found['memory']:.0f} MB, {found['kept']:,.0f}"
        figures.append(Figure("the same: event-loop lag p99, peak memory, most kept on disk", rest))
    return figures


def flood(url: str, state: Path) -> dict[str, float]:
    """Post notifications at a fixed rate, whatever is answered, to a process of its own."""
    port = parts.free_port()
    command = [sys.executable, "-m", "tests.benchmarks.discovery", "hook", f"{url} {port}", str(state)]
    environment = {**os.environ, **ENVIRONMENT}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        parts.wait_for(lambda: parts.listens(port), what="the webhook")
        found = asyncio.run(_post(port))
        output, _ = process.communicate(timeout=60)
    return {**found, **json.loads(output.splitlines()[-1])}


async def _post(port: int) -> dict[str, float]:
    """Milliseconds until the answers, from when each request was due; over connections that stay open."""
    waits: list[float] = []
    refused = 0
    records = [record(number) for number in range(MESSAGES)]
    count = RATE * FLOOD // RECORDS
    requests: list[bytes] = []
    for number in range(count):
        told = [records[(number * RECORDS + n) % MESSAGES] for n in range(RECORDS)]
        body = json.dumps({"Records": told}).encode()
        head = f"POST / HTTP/1.1\r\nHost: b\r\nAuthorization: Bearer t\r\nContent-Length: {len(body)}\r\n\r\n"
        requests.append(head.encode() + body)
    following = iter(range(count))
    began = time.perf_counter() + 1.0

    async def send() -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: b\r\nAuthorization: Bearer t\r\n\r\n")  # imports are paid for
        await reader.readuntil(b"posted here\n")
        for number in following:
            due = began + number * RECORDS / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            writer.write(requests[number])
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
            refused += head.startswith(b"HTTP/1.1 503")
            waits.append((time.perf_counter() - due) * 1000)
        writer.close()

    await asyncio.gather(*(send() for _ in range(64)))
    quantiles = statistics.quantiles(waits, n=100)
    return {"p50": quantiles[49], "p99": quantiles[98], "refused": refused / count}


# What runs in the processes.


class Lag:
    """How late the event loop is, all the time."""

    def __init__(self) -> None:
        self.late: list[float] = []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = time.perf_counter() + 0.005
            await asyncio.sleep(0.005)
            self.late.append((time.perf_counter() - due) * 1000)

    def report(self) -> dict[str, float]:
        """In milliseconds."""
        return {"lag": statistics.quantiles(self.late, n=100)[98], "worst": max(self.late)}


def _spent(started: float, cpu: float = 0.0) -> dict[str, float]:
    """``cpu`` is the time of the processor that was spent before."""
    status = Path("/proc/self/status").read_text()  # getrusage would count what the parent had at the fork
    memory = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, "memory": memory}


@contextlib.asynccontextmanager
async def _service(url: str, path: Path, make: Any) -> Any:
    options = s3.Options(endpoint_url=url, access_key="k", secret_key="s", addressing="path")  # type: ignore[arg-type]
    async with State(path) as state, s3.S3Storage("bench", options) as storage:
        stored = await state.workflows.apply([("w", wire.decode(Workflow, parts.workflow("bench", OutputDir="/out/")))])
        source: Source = make({"bench": storage})
        dispatcher = Dispatcher(state, {"bench": storage}, lambda: None)
        dispatcher.catalog = Catalog(stored, files.Templates(), {})
        calm()
        lag = Lag()
        tasks = [asyncio.create_task(lag.run()), asyncio.create_task(dispatcher.run([source]))]
        yield source, dispatcher, lag
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def later(url: str, path: Path) -> dict[str, float]:
    """A sweep of a process that has swept before."""
    return await sweep(url, path, before=1)


async def sweep(url: str, path: Path, before: int = 0) -> dict[str, float]:
    """One sweep."""
    options = s3_poll.Options(storage="bench", interval=3600, requests_per_month=0)

    def make(storages: Any) -> Source:
        return s3_poll.S3PollSource("sweep", options, storages)

    async with _service(url, path, make) as (source, _, lag):
        for done in range(before + 1):
            source.hurry()
            lag.late.clear()
            started, spent = time.perf_counter(), time.process_time()
            while source.spend.sweeps == done:
                await asyncio.sleep(0.01)
        return {**_spent(started, spent), **lag.report()}


async def queue(url: str, path: Path) -> dict[str, float]:
    """Take all messages of a queue."""
    options = sqs.Options(queue_url=f"{url}/q", endpoint_url=url, access_key="k", secret_key="s", receivers=8)  # type: ignore[arg-type]

    def make(storages: Any) -> Source:
        return sqs.SqsSource("queue", options, storages)

    async with _service(url, path, make) as (source, dispatcher, lag):
        started = time.perf_counter()
        while dispatcher.counters.tally.new + dispatcher.counters.tally.duplicate < MESSAGES:
            await asyncio.sleep(0.01)
        while source._held:  # what was acknowledged is not held any more
            await asyncio.sleep(0.01)
        return {"rate": MESSAGES / (time.perf_counter() - started), **lag.report()}


async def hook(where: str, path: Path) -> dict[str, float]:
    """Take what is posted until standard input ends."""
    url, port = where.split()
    options = webhook.Options(listen=f"127.0.0.1:{port}", token="t")  # type: ignore[arg-type]

    def make(storages: Any) -> Source:
        return webhook.WebhookSource("hook", options, storages)

    async with _service(url, path, make) as (_, dispatcher, lag):
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        kept, most = 0, 0
        while not ended.done() or kept:
            await asyncio.sleep(0.2)
            kept = sum((await dispatcher._state.spool.counts()).values())
            most = max(kept, most)
        return {"kept": float(most), **_spent(0), **lag.report()}


async def bare(url: str, _: Path) -> dict[str, float]:
    """The listing as aiobotocore's paginator gives it."""
    from aiobotocore.session import get_session

    started = time.perf_counter()
    count = 0
    async with get_session().create_client("s3", endpoint_url=url, region_name="us-east-1") as client:
        async for page in client.get_paginator("list_objects_v2").paginate(Bucket="bench"):
            count += len(page["Contents"])
    return _spent(started)


if __name__ == "__main__":
    given = {"sweep": sweep, "later": later, "queue": queue, "hook": hook, "bare": bare}[sys.argv[1]]
    print(json.dumps(asyncio.run(given(sys.argv[2], Path(sys.argv[3])))))
