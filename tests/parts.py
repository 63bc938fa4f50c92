"""Real parts for the tests: throw-away servers on free ports, and the daemon as a child process."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import imageio_ffmpeg
import yaml

T = TypeVar("T")
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], T], timeout: float = 30.0, what: str = "") -> T:
    """The first true result of a condition; fails with a sentence when it never comes."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError(f"did not happen within {timeout:.0f} s: {what or condition}")


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def child(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not outlive the test."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """S3 and SQS by moto; yields its address."""
    port = free_port()
    with child([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]):
        wait_for(lambda: listens(port), what="moto to listen")
        yield f"http://127.0.0.1:{port}"


def mosquitto_program() -> str:
    """The broker; `.ci/test` installs it."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    assert found, "mosquitto is missing: run the tests by `bash .ci/test`, which installs what they need"
    return found


@contextlib.contextmanager
def mosquitto(directory: Path, *lines: str, port: int | None = None) -> Iterator[int]:
    """An MQTT broker; further configuration by lines. Yields its port."""
    port = port or free_port()
    config = directory / f"mosquitto-{port}.conf"
    listener = [] if any(line.startswith("listener") for line in lines) else [f"listener {port} 127.0.0.1"]
    access = [] if any(line.startswith("allow_anonymous") for line in lines) else ["allow_anonymous true"]
    config.write_text("\n".join([*listener, *access, *lines]) + "\n")
    with child([mosquitto_program(), "-c", str(config)]):
        wait_for(lambda: listens(port), what="mosquitto to listen")
        yield port


@contextlib.contextmanager
def rabbitmq(directory: Path) -> Iterator[int]:
    """An AMQP broker; yields its port."""
    program = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    assert os.path.exists(program), "RabbitMQ is missing: run the tests by `bash .ci/test`, which installs it"
    port = free_port()
    (directory / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\nloopback_users = none\n")
    (directory / "plugins").write_text("[].")
    environment = {
        "RABBITMQ_NODENAME": f"watcher{port}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "ERL_EPMD_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "HOME": str(directory),
    }
    process = subprocess.Popen(
        [program], env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(lambda: listens(port), 60, "RabbitMQ to listen")
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # It starts a port mapper too, which would outlive it, and which goes only after it.
        mapper = ["epmd", "-port", environment["ERL_EPMD_PORT"], "-kill"]
        wait_for(lambda: subprocess.run(mapper, capture_output=True, check=False).returncode == 0, 20)


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    assert found, f"{name} is missing: run the tests by `bash .ci/test`, which installs what they need"
    return found


@contextlib.contextmanager
def nats_server(directory: Path, port: int | None = None) -> Iterator[int]:
    """NATS with JetStream; yields its port."""
    port = port or free_port()
    command = [_program("nats-server"), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(directory / "jetstream")]
    with child(command):
        wait_for(lambda: listens(port), what="NATS to listen")
        yield port


@contextlib.contextmanager
def redis_server(directory: Path, port: int | None = None) -> Iterator[int]:
    """Redis; yields its port."""
    port = port or free_port()
    command = [_program("redis-server"), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)]
    with child([*command, "--appendonly", "yes"]):
        wait_for(lambda: listens(port), what="Redis to listen")
        yield port


KAFKA = """
import sys
from confluent_kafka import Producer
cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none"})
broker, *_ = cluster.list_topics(timeout=10).brokers.values()
print(broker.port, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def kafka() -> Iterator[int]:
    """The cluster that librdkafka brings for tests, with one broker, in a process of its own; yields its port."""
    command = [sys.executable, "-c", KAFKA]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextlib.contextmanager
def postgresql(directory: Path) -> Iterator[str]:
    """PostgreSQL with an empty cluster; yields the address of its server, to which the name of a database is added."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    assert programs, "PostgreSQL is missing: run the tests by `bash .ci/test`, which installs it"
    folder, port = programs[-1].parent, free_port()
    data = directory / "pg"
    data.mkdir(mode=0o700)
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # it refuses to run as root
        for parent in (directory, *directory.parents):
            if parent.stat().st_uid == 0 and parent != Path("/") and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
        shutil.chown(data, "postgres", "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    make = [folder / "initdb", "-D", data, "-U", "watcher", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd=data, **user)
    options = ["-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", data, "-c", "fsync=off", "-c", "timezone=UTC"]
    with child([str(part) for part in (folder / "postgres", *options)], cwd=data, **user):
        ready = [folder / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        wait_for(lambda: subprocess.run(ready, check=False).returncode == 0)
        yield f"postgresql://watcher@127.0.0.1:{port}"


@dataclasses.dataclass
class Received:
    """One request that the receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The body as JSON."""
        return dict(json.loads(self.body))


class HttpReceiver:
    """A real HTTP server that keeps what is posted to it; ``answers`` are the next statuses, then 200.

    ``asked`` counts what anybody tried to get from it, which is one of ``files`` or nothing.
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.asked = 0
        self.files: dict[str, bytes] = {}
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = receiver.answers.pop(0) if receiver.answers else 200
                receiver.requests.append(Received(self.path, dict(self.headers), body))
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def do_GET(self) -> None:
                receiver.asked += 1
                data = receiver.files.get(self.path.partition("?")[0])
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(data or b"")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def ffmpegs(directory: Path) -> list[int]:
    """Processes that mention a folder in their command line."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                command = Path(f"/proc/{entry.name}/cmdline").read_bytes()
            except OSError:
                continue
            if str(directory).encode() in command and b"ffmpeg" in command:
                found.append(int(entry.name))
    return found


class Daemon:
    """``watcher run`` as a child process over a folder of its own.

    It speaks systemd's protocol, so that the tests know when it is ready, and leads a process group of its own,
    so that they can kill it without mercy.
    """

    def __init__(self, root: Path, settings: dict[str, Any], workflows: list[dict[str, Any]]) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        (root / "workflows").mkdir(exist_ok=True)
        self.config = root / "watcher.yaml"
        self.write_settings(settings)
        for number, body in enumerate(workflows):
            self.write_workflow(f"{number}.yaml", body)
        self.log = root / "daemon.log"
        self.database = root / "watcher.db"
        """The state's file."""
        self._process: subprocess.Popen[bytes] | None = None

    def write_settings(self, settings: dict[str, Any]) -> None:
        """The configuration file."""
        self.config.write_text(yaml.safe_dump({"state": "sqlite:///watcher.db", **settings}))

    def write_workflow(self, name: str, body: dict[str, Any]) -> None:
        """One workflow file."""
        (self.root / "workflows" / name).write_text(yaml.safe_dump(body))

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None
        return self._process

    def start(
        self, timeout: float = 30.0, fault: str = "", inside: Sequence[str | Path] = (), **environment: str
    ) -> None:
        """Start it and wait until it says that it is ready.

        ``fault`` is Python that runs in the daemon before anything else: how a test has it die at a certain line.
        ``inside`` is the command of another program that runs it, ``environment`` what it has besides.
        """
        address = str(self.root / "notify.sock")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, self.log.open("ab") as output:
            ready.bind(address)
            ready.settimeout(0.1)
            self._process = subprocess.Popen(
                [
                    *inside,
                    sys.executable,
                    "-c",
                    f"{fault}\nfrom watcher.cli import main\nmain()",
                    "run",
                    "--config",
                    str(self.config),
                ],
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "NOTIFY_SOCKET": address, "WATCHER_LOG__LEVEL": "debug", **environment},
            )

            def is_ready() -> bool:
                assert self.process.poll() is None, f"the daemon ended: {self.text()}"
                try:
                    return b"READY=1" in ready.recv(4096)
                except TimeoutError:
                    return False

            wait_for(is_ready, timeout, "the daemon to be ready")

    def text(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def kill(self) -> None:
        """SIGKILL, to the daemon alone: its children have to notice by themselves."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout: float = 60.0) -> int:
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout)

    def close(self) -> None:
        """End it, however it is."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of its state, past all of its own code."""
        import sqlite3

        with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as connection:
            return connection.execute(sql, values).fetchall()

    def finished(self, count: int, timeout: float = 60.0) -> list[dict[str, Any]]:
        """Wait until so many tasks are finished; their rows, oldest first."""
        sql = "select task_id, key, workflow_name, failed, code, message, results, metadata, attempts from tasks"

        def rows() -> list[tuple[Any, ...]]:
            assert self.process.poll() is None, f"the daemon ended: {self.text()}"
            found = self.query(f"{sql} where status = 'FINISH' order by seq")
            return found if len(found) >= count else []

        names = ["task_id", "key", "workflow", "failed", "code", "message", "results", "metadata", "attempts"]
        try:
            found = wait_for(rows, timeout, f"{count} finished tasks")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from None
        tasks = [dict(zip(names, row, strict=True)) for row in found]
        for task in tasks:
            task["results"] = json.loads(task["results"])
            task["metadata"] = json.loads(task["metadata"]) if task["metadata"] else None
        return tasks


def trigger(bucket: str) -> dict[str, Any]:
    """Media anywhere in a bucket."""
    return {"Type": "CosFileUpload", "CosFileUploadTrigger": {"Bucket": bucket, "Region": "ap-guangzhou"}}


def workflow(bucket: str, **changes: Any) -> dict[str, Any]:
    """An enabled workflow body over a bucket; ``changes`` replace members."""
    body: dict[str, Any] = {
        "WorkflowName": "clips",
        "Enabled": True,
        "Trigger": trigger(bucket),
        "MediaProcessTask": {"SnapshotByTimeOffsetTaskSet": [{"Definition": 10, "ExtTimeOffsetSet": ["1s"]}]},
    }
    return {key: value for key, value in (body | changes).items() if value is not None}


@contextlib.contextmanager
def model_server(respond: Callable[[str, str, bytes], tuple[int, bytes]]) -> Iterator[str]:
    """A server of models: ``respond`` makes status and body of a path, an authorization and a body; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = respond(self.path, self.headers["Authorization"], body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    http.shutdown()
    http.server_close()


def make_clip(path: Path, *arguments: str, seconds: float = 3, size: str = "320x180", rate: int = 25) -> Path:
    """A synthetic clip: moving picture with a running clock of colours, and a tone."""
    sources = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}", "-f", "lavfi", "-i", "sine=frequency=440"]
    encode = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50", "-c:a", "aac", "-ac", "2"]
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [FFMPEG, "-nostdin", "-v", "error", "-y", *sources, "-t", str(seconds), *encode, *arguments, str(path)],
        check=True,
    )
    return path


def probe(path: Path) -> dict[str, Any]:
    """What PyAV says of a file, every frame decoded: an independent look at our outputs."""
    import av

    with av.open(str(path)) as container:
        facts: dict[str, Any] = {
            "format": container.format.name,
            "duration": (container.duration or 0) / 1e6,
            "video": None,
            "audio": None,
        }
        streams = {stream.type: stream for stream in container.streams}
        frames = {"video": 0, "audio": 0}
        for packet in container.demux():
            for frame in packet.decode():
                frames[packet.stream.type] += 1
                del frame
        for kind, stream in streams.items():
            codec = stream.codec_context.codec.canonical_name
            facts[kind] = {"codec": codec, "frames": frames[kind]}
            if kind == "video":
                facts[kind] |= {"width": stream.codec_context.width, "height": stream.codec_context.height}
                facts[kind] |= {"fps": float(stream.average_rate or 0)}
            else:
                facts[kind] |= {"rate": stream.codec_context.sample_rate, "channels": stream.codec_context.channels}
    return facts
