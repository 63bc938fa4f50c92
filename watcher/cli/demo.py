"""``watcher demo``: the main job, end to end, with nothing to set up."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from watcher import settings
from watcher.cli import console
from watcher.destinations import describe
from watcher.errors import PermanentError
from watcher.media import ffmpeg
from watcher.settings import Settings
from watcher.state.outbox import Delivery
from watcher.state.store import State

CONFIG = """\
# Made by `watcher demo`. Run the service on it with:  watcher run --config {file}
state: sqlite:///state/watcher.db
storages:
  inbox-1250000000:  {{type: local, root: inbox}}
  outbox-1250000000: {{type: local, root: outbox}}
sources:
  inbox: {{type: folder, storage: inbox-1250000000, settle: 1s}}
notifiers:
  events: {{type: directory, path: events}}
"""

WORKFLOW = """\
# A CreateWorkflow request body of Tencent Cloud MPS, plus `Enabled`.
WorkflowName: demo
Enabled: true
Trigger:
  Type: CosFileUpload
  CosFileUploadTrigger: {Bucket: inbox-1250000000, Region: ap-guangzhou, Dir: /, Formats: [mp4, mov, mkv, webm]}
OutputStorage: {Type: COS, CosOutputStorage: {Bucket: outbox-1250000000, Region: ap-guangzhou}}
OutputDir: /demo/
MediaProcessTask:
  TranscodeTaskSet:
    - {Definition: 100010}        # 360p MP4
    - {Definition: 100220}        # 540p HLS
    - {Definition: 1120}          # the sound alone, as M4A
  SnapshotByTimeOffsetTaskSet:
    - {Definition: 10, ExtTimeOffsetSet: ["2.5s", "50%"]}
  SampleSnapshotTaskSet:
    - {Definition: 10}            # a picture each 10 %
  ImageSpriteTaskSet:
    - {Definition: 200001}        # thumbnails with WebVTT, by the template in templates/
"""

TEMPLATE = """\
ImageSpriteTemplateSet:
  - {Definition: 200001, Name: one-a-second, SampleType: Time, SampleInterval: 1, RowCount: 2, ColumnCount: 5,
     Width: 160, Height: 90, ResolutionAdaptive: close}
"""

SECONDS = 10
CLIP = (
    "-f", "lavfi", "-i", "mandelbrot=size=640x360:rate=25:end_scale=0.02:maxiter=600",
    "-f", "lavfi", "-i", "aevalsrc=0.15*sin(440*PI*t)*(0.6+0.4*sin(2*PI*t))+0.1*sin(660*PI*t):s=48000",
    "-t", str(SECONDS), "-vf", "scale=1280:720:flags=bicubic,hue=h=40*t",
    "-c:v", "libx264", "-preset", "ultrafast", "-crf", "26", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "96k",
)  # fmt: skip


async def demo(directory: Path) -> int:
    """Make the folder, run the service over it, drop a clip in, show what comes of it."""
    started = time.monotonic()
    root = directory.absolute()
    file = _prepare(root)
    configured = settings.load(file)
    clip = await _make_clip(configured, root)
    with _service(file) as (process, ready):
        await _until_ready(process, ready, root)
        console.out.print("[green]✓[/] the service is running")
        dropped = time.time()
        target = root / "inbox" / "clip.mp4"
        clip.replace(target)
        console.out.print(
            f"[green]✓[/] dropped [bold]{console.safe(_short(target))}[/] ({console.human_size(target.stat().st_size)})"
        )
        async with State(configured.state) as state:
            task_id = await _started(state, dropped, process)
            task = await console.follow(state, task_id)
            deliveries = await _delivered(state, task_id)
        console.show_outputs(task, configured)
        console.show_failures(task)
        for delivery in deliveries:
            where = (
                _short(root / "events")
                if describe(delivery.destination) == "events"
                else describe(delivery.destination)
            )
            console.out.print(f"[green]✓[/] task event {delivery.status.lower()} to {console.safe(where)}")
    _say_next(root, file, time.monotonic() - started)
    return 1 if task.failed else 0


def _prepare(root: Path) -> Path:
    if root.exists() and any(root.iterdir()) and not (root / "watcher.yaml").exists():
        raise PermanentError(f"{root} is not empty and no earlier demo; name another folder with --directory")
    for name in ("inbox", "outbox", "events", "workflows", "templates"):
        (root / name).mkdir(parents=True, exist_ok=True)
    file = root / "watcher.yaml"
    file.write_text(CONFIG.format(file=_short(file)), encoding="utf-8")
    (root / "workflows" / "demo.yaml").write_text(WORKFLOW, encoding="utf-8")
    (root / "templates" / "demo.yaml").write_text(TEMPLATE, encoding="utf-8")
    console.out.print(f"[green]✓[/] two buckets and a workflow in [bold]{console.safe(_short(root))}/[/]")
    return file


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


async def _make_clip(configured: Settings, root: Path) -> Path:
    """Ten seconds of a fractal: nobody's rights, and something to look at."""
    clip = root / "clip.mp4"
    program = ffmpeg.locate(configured.media.ffmpeg)
    process = await asyncio.create_subprocess_exec(
        str(program), "-nostdin", "-v", "error", "-y", *CLIP, str(clip), stdin=asyncio.subprocess.DEVNULL
    )
    if await process.wait() != 0:
        raise PermanentError(f"{program} could not make the sample clip")
    console.out.print(f"[green]✓[/] made a clip of {SECONDS} seconds")
    return clip


@contextmanager
def _service(file: Path) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """The daemon as a child process, as systemd would run it: it says when it is ready."""
    address = f"\0watcher-demo-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, (file.parent / "watcher.log").open("wb") as output:
        ready.bind(address)
        ready.setblocking(False)
        environment = {**os.environ, "NOTIFY_SOCKET": f"@{address[1:]}"}
        command = [sys.executable, "-m", "watcher", "run", "--config", str(file)]
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
        try:
            yield process, ready
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _until_ready(process: subprocess.Popen[bytes], ready: socket.socket, root: Path) -> None:
    loop = asyncio.get_running_loop()
    while process.poll() is None:
        try:
            async with asyncio.timeout(0.2):
                message = await loop.sock_recv(ready, 4096)
        except TimeoutError:
            continue
        if b"READY=1" in message:
            return
    raise PermanentError(f"the service did not start: {(root / 'watcher.log').read_text(errors='replace')[-2000:]}")


async def _started(state: State, since: float, process: subprocess.Popen[bytes]) -> str:
    """The task that the dropped clip became."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        for task in await state.tasks.list(limit=5):
            if task.create_time >= since:
                return task.task_id
        await asyncio.sleep(0.05)
    raise PermanentError("the clip did not become a task within 30 seconds; see watcher.log")


async def _delivered(state: State, task_id: str) -> list[Delivery]:
    for _ in range(100):
        found = await state.outbox.of_task(task_id)
        if found and all(delivery.status == "DELIVERED" for delivery in found):
            break
        await asyncio.sleep(0.05)
    return found


def _say_next(root: Path, file: Path, seconds: float) -> None:
    event = next(iter(sorted((root / "events").glob("*.json"))), None)
    status = json.loads(event.read_text())["WorkflowTaskEvent"]["Status"] if event else "no event"

    def say(line: str) -> None:
        console.out.print(line, soft_wrap=True)

    say(f"\nDone in {seconds:.1f} s, task {status}. Now try:")
    config, inbox, watcher = console.safe(_short(file)), console.safe(_short(root / "inbox")), console.safe(_program())
    say(f"  {watcher} run --config {config}        then copy any video into {inbox}/")
    say(f"  {watcher} tasks list --config {config}")
    say(f"  {watcher} workflows match inbox-1250000000/holiday.mov --config {config}")
    say(f"  open {console.safe(_short(root / 'outbox' / 'demo'))}/ and look")


def _program() -> str:
    """How to call this program again: its name where the shell finds it, else its path."""
    mine = Path(sys.argv[0])
    found = shutil.which("watcher")
    if mine.name != "watcher" or (found is not None and Path(found).resolve() == mine.resolve()):
        return "watcher"
    return _short(mine.absolute())
