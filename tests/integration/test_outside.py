"""Going out: what strangers name is fetched from public places only, whole, and no more than is allowed."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.errors import (
    AccessRefused,
    ObjectNotFound,
    ObjectSuperseded,
    PermanentError,
    TransientError,
    WatcherError,
)
from watcher.media import ranges
from watcher.model.objects import URL, ObjectInfo
from watcher.notifiers.base import Message
from watcher.notifiers.webhook import Options, Poster, WebhookNotifier
from watcher.outside import Fetcher, Guard
from watcher.storage._url import UrlStorage

LOOPBACK = Guard(["127.0.0.0/8", "::1"])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("172.16.3.4", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
    ],
)
def test_which_addresses(address: str, expected: bool) -> None:
    """Private ones are not reached by any of their spellings."""
    assert Guard().permits("host.example", address) is expected


def test_what_the_settings_allow() -> None:
    """Networks, addresses and names."""
    guard = Guard(["10.1.0.0/16", "192.168.0.7", "Hooks.internal"])
    assert guard.permits("x", "10.1.200.3")
    assert guard.permits("x", "::ffff:10.1.200.3")
    assert not guard.permits("x", "10.2.0.1")
    assert guard.permits("x", "192.168.0.7")
    assert guard.permits("hooks.INTERNAL", "127.0.0.1")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://[::1]:80/x", "http://[::ffff:10.0.0.1]/", "ftp://93.184.216.34/", "file:///etc/passwd",
        "http:///x", "gopher://x", "http://169.254.169.254/latest/meta-data",
    ],
)  # fmt: skip
def test_addresses_by_number_and_other_schemes(url: str) -> None:
    """What is no name is never looked up, so it is checked before."""
    with pytest.raises(PermanentError):
        Guard().check(url)


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    """It is an address, or refused."""
    try:
        Guard().check(text)
    except (PermanentError, ValueError):
        return
    assert text.lower().startswith("http")


@pytest.mark.parametrize("host", ["127.1", "0177.0.0.1", "2130706433", "0x7f000001", "localhost", "LOCALHOST."])
async def test_spellings_that_only_the_resolver_understands(host: str, web: Web) -> None:
    """They are looked up, and what was found is checked: that very address is connected to."""
    fetcher = Fetcher(Guard(), 5)
    try:
        with pytest.raises((PermanentError, TransientError)):
            async with fetcher.get(f"http://{host}:{web.port}/film.mp4", {}):
                pass
    finally:
        await fetcher.close()
    assert web.asked == []


class Web:
    """A web server of ours; ``pages`` are bodies by path, or what to do instead."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {"/film.mp4": bytes(range(256)) * 64}
        self.asked: list[str] = []
        self.etag = '"one"'
        self.ranges = True
        self.told_length = True
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.asked.append(self.path)
                page = web.pages.get(self.path.partition("?")[0], 404)
                if isinstance(page, tuple):
                    self.send_response(page[0])
                    self.send_header("Location", page[1])
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if isinstance(page, int):
                    self.send_response(page)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self._send(page)

            def _send(self, data: bytes) -> None:
                asked = self.headers.get("Range", "") if web.ranges else ""
                total = len(data)
                if asked:
                    first, _, last = asked.removeprefix("bytes=").partition("-")
                    data = data[int(first) : int(last) + 1]
                self.send_response(206 if asked else 200)
                if asked:
                    self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
                self.send_header("ETag", web.etag)
                self.send_header("Last-Modified", "Wed, 21 Oct 2026 07:28:00 GMT")
                if web.told_length:
                    self.send_header("Content-Length", str(len(data)))
                else:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    served = Web()
    yield served
    served.close()


def storage(guard: Guard = LOOPBACK, **limits: Any) -> UrlStorage:
    return UrlStorage(Fetcher(guard, 2), **{"max_size": 2**20, "timeout": 10.0, **limits})


async def test_a_file_is_fetched_whole(web: Web, tmp_path: Path) -> None:
    """And its size, version and parts are known."""
    async with storage() as made:
        info = await made.head(f"{web.url}/film.mp4?secret=1")
        assert (info.storage, info.size, info.etag) == (URL, 16_384, '"one"')
        assert info.uri == f"{web.url}/film.mp4"
        assert info.path == "film.mp4"
        moved: list[int] = []
        await made.fetch(info, tmp_path / "film", moved.append)
        assert (tmp_path / "film").read_bytes() == web.pages["/film.mp4"]
        assert sum(moved) == 16_384
        assert await made.read(info, 250, 10) == bytes([250, 251, 252, 253, 254, 255, 0, 1, 2, 3])
        assert await ranges.Ranges(info.size, lambda start, length: made.read(info, start, length)).get(16_380, 99) == (
            bytes([252, 253, 254, 255])
        )


async def test_a_server_that_tells_little(web: Web, tmp_path: Path) -> None:
    """No length and no parts: it is fetched all the same, up to what is allowed."""
    web.told_length = web.ranges = False
    async with storage() as made:
        info = await made.head(f"{web.url}/film.mp4")
        assert info.size == -1
        await made.fetch(info, tmp_path / "film")
        with pytest.raises(PermanentError, match="gives no parts"):
            await made.read(info, 0, 1)
    assert (tmp_path / "film").stat().st_size == 16_384
    async with storage(max_size=1000) as small:
        with pytest.raises(PermanentError, match="larger than"):
            await small.fetch(info, tmp_path / "other")


async def test_too_large_is_known_before(web: Web) -> None:
    """Where the server says how large."""
    async with storage(max_size=1000) as made:
        with pytest.raises(PermanentError, match="more than `outside.max_size`"):
            await made.head(f"{web.url}/film.mp4")


async def test_another_version(web: Web, tmp_path: Path) -> None:
    """What was looked at is what is fetched, or nothing."""
    async with storage() as made:
        info = await made.head(f"{web.url}/film.mp4")
        web.etag = '"two"'
        with pytest.raises(ObjectSuperseded):
            await made.fetch(info, tmp_path / "film")


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, ObjectNotFound), (410, ObjectNotFound), (403, AccessRefused), (429, TransientError), (500, TransientError),
     (418, PermanentError)],
)  # fmt: skip
async def test_answers_that_are_no_file(status: int, error: type[Exception], web: Web) -> None:
    """Each says whether it is worth another try."""
    web.pages["/x"] = status
    async with storage() as made:
        with pytest.raises(error):
            await made.head(f"{web.url}/x")


async def test_redirects(web: Web) -> None:
    """They are followed, a few, and each is checked like the first address."""
    web.pages |= {"/a": (302, "/b"), "/b": (301, f"{web.url}/film.mp4"), "/loop": (302, "/loop")}
    web.pages |= {
        "/in": (302, "http://169.254.169.254/latest"),
        "/file": (302, "file:///etc/passwd"),
        "/none": (302, ""),
    }
    async with storage() as made:
        assert (await made.head(f"{web.url}/a")).size == 16_384
        with pytest.raises(PermanentError, match="redirects more than"):
            await made.head(f"{web.url}/loop")
        with pytest.raises(PermanentError, match="private address"):
            await made.head(f"{web.url}/in")
        with pytest.raises(PermanentError, match="no http"):
            await made.head(f"{web.url}/file")
        with pytest.raises(PermanentError):
            await made.head(f"{web.url}/none")


async def test_a_name_that_changes_its_mind(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is public when it is checked and private when it is used: there is one look-up for both."""
    answers = iter([[("93.184.216.34", 80)], [("127.0.0.1", web.port)]])

    def rebinding(host: str, port: int, **_: Any) -> list[Any]:
        found = next(answers, [("127.0.0.1", web.port)])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in found]

    fetcher = Fetcher(Guard(), 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, *_, **__: rebinding(host, port))
    try:
        with pytest.raises(WatcherError):  # the public address is connected to, where nobody has this file
            async with fetcher.get(f"http://rebind.example:{web.port}/film.mp4", {}):
                pass
        with pytest.raises(WatcherError):  # by then, or by the same connection, it is that address or none
            async with fetcher.get(f"http://rebind.example:{web.port}/film.mp4", {}):
                pass
    finally:
        await fetcher.close()
    assert web.asked == []


async def test_an_address_is_read_only(web: Web, tmp_path: Path) -> None:
    """Nothing is ever written to one."""
    async with storage() as made:
        with pytest.raises(PermanentError):
            await made.put(tmp_path / "x", "k", content_type="", metadata={}, token="t")
        with pytest.raises(PermanentError):
            await made.delete("k")
        with pytest.raises(PermanentError):
            async for _ in made.list():
                pass
        await made.verify(ObjectInfo.named(URL, "k"))
        await made.discard("k", "t")
        await made.check()


async def test_callbacks_are_guarded_too() -> None:
    """One that a request named is given up when it leads inside, by number or by name."""
    for url in ("http://127.0.0.1:9/hook", "http://localhost:9/hook"):
        poster = Poster(Guard())
        notifier = WebhookNotifier("n", Options(url=url), poster)  # type: ignore[arg-type]
        with pytest.raises(PermanentError, match="private address"):
            await notifier.publish(Message("e", "t", "w", b"{}"))
        await poster.close()
