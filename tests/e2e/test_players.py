"""Ladders play in real players: hls.js and shaka-player, in Chromium, from a plain file server.

The players are fetched from the npm registry as they are pinned here, and checked against their sums.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import shutil
import tarfile
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright

from tests import parts
from tests.workbench import Bench

PLAYERS = {
    "hls.js": (
        "1.7.4", "package/dist/hls.min.js", "e4ab3d5d13f7cca9ef241d098f39686e19fd451831ba07dc9943482fd5ff75c7",
    ),
    "shaka-player": (
        "5.2.12",
        "package/dist/shaka-player.compiled.js",
        "0c09816ea0b1399434bb6423b6a955f22e75b1886e4d394934ec73b9b38e3018",
    ),
}  # fmt: skip
"""Version, file in the package, and SHA-256 of the package."""

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip
PAGE = """<!doctype html><meta charset="utf-8"><video id="v" muted></video>
<script src="hls.js"></script><script src="shaka-player.js"></script>
<script>
const video = document.getElementById('v'), state = {error: '', levels: 0, tracks: 0};
const failed = e => { state.error = state.error || String(e); };
window.play = async (player, url) => {
  if (player === 'hls.js') {
    const hls = new Hls({debug: false});
    hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) failed(data.details + ' ' + (data.error || '')); });
    hls.on(Hls.Events.MANIFEST_PARSED, (_, data) => {
      state.levels = data.levels.length; state.tracks = hls.audioTracks.length; video.play().catch(failed);
    });
    hls.loadSource(url); hls.attachMedia(video);
    window.next = () => { hls.currentLevel = hls.levels.length - 1; };
  } else {
    shaka.polyfill.installAll();
    const it = new shaka.Player(); await it.attach(video);
    it.addEventListener('error', e => failed('shaka ' + e.detail.code + ' ' + e.detail.data));
    it.configure({abr: {enabled: false}});
    try { await it.load(url); } catch (e) { failed('shaka ' + e.code + ' ' + e.data); return; }
    state.levels = it.getVariantTracks().length; state.tracks = it.getAudioTracks().length;
    window.next = () => { const all = it.getVariantTracks(); it.selectVariantTrack(all[all.length - 1], true); };
    await video.play().catch(failed);
  }
};
window.look = () => ({...state, time: video.currentTime, ended: video.ended, height: video.videoHeight,
  dropped: video.getVideoPlaybackQuality().droppedVideoFrames, length: video.duration,
  mediaError: video.error ? video.error.message : ''});
</script>"""


def player(name: str, folder: Path) -> bytes:
    """The one file of a player that a page needs; the package is fetched once for all tests."""
    version, file, digest = PLAYERS[name]
    kept = folder / f"{name}-{version}.tgz"
    if not kept.exists():
        registry = os.environ.get("NPM_REGISTRY", "https://registry.npmjs.org/").rstrip("/")
        with urllib.request.urlopen(f"{registry}/{name}/-/{name}-{version}.tgz", timeout=120) as answer:
            data = answer.read()
        assert hashlib.sha256(data).hexdigest() == digest, f"{name} {version} is not what it was"
        kept.write_bytes(data)
    with tarfile.open(fileobj=io.BytesIO(kept.read_bytes())) as package:
        member = package.extractfile(file)
        assert member is not None
        return member.read()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files with byte ranges, which Python's own server lacks."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        first, last, status = 0, len(data) - 1, 200
        if (asked := self.headers.get("Range", "")).startswith("bytes="):
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last, status = int(start), min(int(end or last), last), 206
        self.send_response(status)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Cache-Control", "no-store")
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[first : last + 1])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder and the address it is served at, with a page that plays."""
    folder = tmp_path / "bucket" / "site"
    kept = tmp_path_factory.getbasetemp() / "players"
    kept.mkdir(exist_ok=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest_asyncio.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """A page of a real browser."""
    program = shutil.which("chromium")
    assert program, "chromium is missing: run the tests by `bash .ci/test`, which installs what they need"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield await browser.new_page()
        await browser.close()


VIDEO = {"Codec": "h264", "Fps": 25, "HlsTime": 1}
SOUND = {"Codec": "aac", "Bitrate": 64, "SampleRate": 44100}
LADDER = [
    {"Video": VIDEO | {"Height": height, "Bitrate": rate}, "Audio": SOUND} for height, rate in ((128, 150), (180, 300))
]
CASES = [
    ("hls.js", "HLS", "ts-segment", {}),
    ("hls.js", "HLS", "ts-ts-segment", {}),
    ("hls.js", "HLS", "ts-byterange", {}),
    ("hls.js", "HLS", "mp4-segment", {}),
    ("hls.js", "HLS", "mp4-mp4-byterange", {}),
    ("hls.js", "HLS", "ts-segment", {"drm": True}),
    ("shaka-player", "HLS", "mp4-mp4-segment", {}),
    ("shaka-player", "HLS", "mp4-byterange", {}),
    ("shaka-player", "MPEG-DASH", "mp4-mp4-byterange", {}),
    ("shaka-player", "MPEG-DASH", "mp4-mp4-byterange", {"av1": True}),
]


@pytest.mark.parametrize(
    ("name", "form", "segments", "more"),
    CASES,
    ids=["-".join([*case[:3], *case[3]]) for case in CASES],
)
async def test_ladders_play(
    workbench: Bench, site: tuple[Path, str], page: Page, name: str, form: str, segments: str, more: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    """From the beginning to the end, on the lowest rendition and then the highest, without a fatal error."""
    folder, address = site
    streams = LADDER
    if more.get("av1"):
        streams = [{"Video": VIDEO | {"Codec": "av1", "Height": height}, "Audio": SOUND} for height in (128, 180)]
    parts.make_clip(workbench.root / "a.mp4", seconds=4)
    body = {"Format": form, "SegmentType": segments, "StreamInfos": streams}
    workbench.template("adaptive_dynamic_streaming", 200001, body)
    task: dict[str, Any] = {"Definition": 200001, "OutputObjectPath": "/site/master.{format}"}
    if more.get("drm"):
        key = "00112233445566778899aabbccddeeff"
        task["DrmInfo"] = {"Type": "simpleaes", "SimpleAesDrm": {"Uri": "k", "Key": key, "Vector": "0f" * 16}}
    item = await workbench.one("a.mp4", AdaptiveDynamicStreamingTaskSet=[task])
    if more.get("drm"):
        (folder / "k").write_bytes(bytes.fromhex(key))
    (folder / "index.html").write_text(PAGE)
    for script in PLAYERS:
        target = folder / ("hls.js" if script == "hls.js" else "shaka-player.js")
        target.write_bytes(player(script, tmp_path_factory.getbasetemp() / "players"))
    await page.goto(f"{address}/index.html")
    await page.evaluate("([name, url]) => window.play(name, url)", [name, f"{address}/{Path(item['path']).name}"])
    found: dict[str, Any] = {}
    for _ in range(200):
        found = await page.evaluate("() => window.look()")
        assert not found["error"], found
        if found["time"] > 1 and found["height"]:
            break
        await page.wait_for_timeout(100)
    await page.evaluate("() => window.next()")
    for _ in range(200):
        found = await page.evaluate("() => window.look()")
        assert not found["error"], found
        if found["ended"]:
            break
        await page.wait_for_timeout(100)
    assert found["ended"], found
    assert found["levels"] == 2, found
    assert found["length"] == pytest.approx(4, abs=0.2)
    assert found["height"] == 180, found
