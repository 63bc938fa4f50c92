"""Signed calls a second on one process, pinned to one processor; and how long they take beside two transcodes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests import parts
from tests.benchmarks.figures import Figure
from tests.clients import Endpoint, PythonClient
from watcher.mps import signature
from watcher.mps.signature import Arrived

IN = "in-1250000000"
ID, KEY = "AKIDbenchmark", "a-secret-key-of-the-benchmark"
CONNECTIONS = 16
SECONDS = 4.0


def signed(port: int, action: str, body: dict[str, Any], secret_id: str = ID, secret_key: str = KEY) -> bytes:
    """A request as it goes over the wire."""
    return signed_bytes(port, action, json.dumps(body).encode(), secret_id, secret_key)


def signed_bytes(port: int, action: str, data: bytes, secret_id: str, secret_key: str) -> bytes:
    """The same for a body that need not be one."""
    now = int(time.time())
    headers = {"content-type": "application/json", "host": f"127.0.0.1:{port}"}
    text = signature.canonical(Arrived("POST", "", headers, data), ["content-type", "host"])
    day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    made = signature.tc3_signature(secret_key, text, str(now), f"{day}/mps")
    signed_by = f"Credential={secret_id}/{day}/mps/tc3_request, SignedHeaders=content-type;host"
    authorization = f"TC3-HMAC-SHA256 {signed_by}, Signature={made}"
    lines = [
        "POST / HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json", f"Content-Length: {len(data)}",
        f"X-TC-Action: {action}", "X-TC-Version: 2019-06-12", f"X-TC-Timestamp: {now}",
        f"Authorization: {authorization}", "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + data


async def _connection(port: int, requests: Callable[[], bytes], until: float, times: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        request = requests()
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        answer = await reader.readexactly(length)
        times.append(time.perf_counter() - started)
        assert b'"Error"' not in answer, answer
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def load(
    port: int, requests: Callable[[], bytes], *, connections: int = CONNECTIONS, seconds: float = SECONDS
) -> list[float]:
    """The time of each call, in seconds, while ``connections`` call without a pause."""
    times: list[float] = []

    async def run() -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(_connection(port, requests, until, times) for _ in range(connections)))

    asyncio.run(run())
    return times


def _requests(port: int, action: str, bodies: Callable[[int], dict[str, Any]], count: int) -> Callable[[], bytes]:
    """Signed beforehand, since signing takes the caller as long as verifying takes the service."""
    made = [signed(port, action, bodies(number)) for number in range(count)]
    following = iter(made)
    return lambda: next(following)


def percentile(times: list[float], share: float) -> float:
    """In milliseconds."""
    return 1000 * sorted(times)[min(len(times) - 1, int(len(times) * share))]


def run(root: Path) -> list[Figure]:
    """A daemon on the first processor, the callers on the others."""
    (root / "in").mkdir()
    parts.make_clip(root / "in" / "clip.mp4", seconds=2)
    port = parts.free_port()
    limits = dict.fromkeys(("CreateWorkflow", "DescribeTaskDetail", "ProcessMedia"), 1_000_000)
    settings = {
        "storages": {IN: {"type": "local", "root": str(root / "in")}},
        "api": {
            "listen": f"127.0.0.1:{port}",
            "credentials": [{"secret_id": ID, "secret_key": KEY}],
            "limits": limits,
        },
        "executor": {"type": "embedded", "slots": 2},
        "log": {"level": "warning"},
    }
    daemon = parts.Daemon(root / "d", settings, [])
    try:
        daemon.start()
        processors = sorted(os.sched_getaffinity(0))
        for thread in os.listdir(f"/proc/{daemon.process.pid}/task"):
            os.sched_setaffinity(int(thread), {processors[0]})
        return _figures(root, port, processors)
    finally:
        daemon.close()


def _figures(root: Path, port: int, processors: list[int]) -> list[Figure]:
    client = PythonClient(Endpoint(port, ID, KEY))
    source = {"Type": "COS", "CosInputInfo": {"Bucket": IN, "Region": "r", "Object": "/clip.mp4"}}
    wanted = {"SnapshotByTimeOffsetTaskSet": [{"Definition": 10, "ExtTimeOffsetSet": ["1s"]}]}
    task = client.call("ProcessMedia", InputInfo=source, MediaProcessTask=wanted, OutputDir="/o/")["TaskId"]
    parts.wait_for(lambda: client.call("DescribeTaskDetail", TaskId=task)["Status"] == "FINISH")
    os.sched_setaffinity(0, set(processors[1:]) or set(processors))
    try:
        count = int(4000 * SECONDS)
        asked = load(port, _requests(port, "DescribeTaskDetail", lambda _: {"TaskId": task}, count))
        made = load(port, _requests(port, "CreateWorkflow", _workflow, count))
    finally:
        os.sched_setaffinity(0, set(processors))
    rule = {"Container": "mp4", "VideoTemplate": {"Codec": "h265", "Height": 1080, "Fps": 0, "Bitrate": 0}}
    parts.make_clip(root / "in" / "long.mp4", seconds=40, size="1920x1080")
    long = {"Type": "COS", "CosInputInfo": {"Bucket": IN, "Region": "r", "Object": "/long.mp4"}}
    raw = {"Definition": 0, "RawParameter": {**rule, "RemoveAudio": 1}}
    running = [
        client.call("ProcessMedia", InputInfo=long, OutputDir=f"/o{i}/", MediaProcessTask={"TranscodeTaskSet": [raw]})
        for i in range(2)
    ]
    ids = [answer["TaskId"] for answer in running]
    parts.wait_for(lambda: all(_progress(client, task_id) > 5 for task_id in ids), 120, "both transcodes to encode")
    beside = load(port, _requests(port, "DescribeTaskDetail", lambda _: {"TaskId": task}, count), connections=2)
    assert all(client.call("DescribeTaskDetail", TaskId=task_id)["Status"] == "PROCESSING" for task_id in ids)
    per_second = [len(times) / SECONDS for times in (asked, made, beside)]
    return [
        Figure("DescribeTaskDetail, signed, one core", f"{per_second[0]:.0f}/s", "≥ 1500/s", per_second[0] >= 1500),
        Figure("CreateWorkflow, signed, one core", f"{per_second[1]:.0f}/s", "≥ 600/s", per_second[1] >= 600),
        Figure(
            "DescribeTaskDetail, p50 / p99 of 16 callers",
            f"{percentile(asked, 0.5):.1f} / {percentile(asked, 0.99):.1f} ms",
        ),
        Figure(
            "CreateWorkflow, p50 / p99 of 16 callers", f"{percentile(made, 0.5):.1f} / {percentile(made, 0.99):.1f} ms"
        ),
        Figure(
            "DescribeTaskDetail beside two transcodes, 2 callers",
            f"{per_second[2]:.0f}/s, p50 {1000 * statistics.median(beside):.1f}, p99 {percentile(beside, 0.99):.1f} ms",
        ),
    ]


def _progress(client: PythonClient, task_id: str) -> int:
    (result,) = client.call("DescribeTaskDetail", TaskId=task_id)["WorkflowTask"]["MediaProcessResultSet"] or [{}]
    return int((result.get("TranscodeTask") or {}).get("Progress") or 0)


def _workflow(number: int) -> dict[str, Any]:
    return {
        "WorkflowName": f"w{number}",
        "Trigger": {
            "Type": "CosFileUpload",
            "CosFileUploadTrigger": {"Bucket": IN, "Region": "r", "Dir": f"/{number}/"},
        },
        "OutputDir": "/out/",
        "MediaProcessTask": {"TranscodeTaskSet": [{"Definition": 100030}], "ImageSpriteTaskSet": [{"Definition": 10}]},
    }
