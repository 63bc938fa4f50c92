"""Requests of strangers: nothing but refusals comes of them, and nothing is changed by them."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate

from tests import parts, schemas
from tests.benchmarks import api as wire
from tests.e2e.test_api import ADMIN, READER, Service, code_of, send
from watcher.api.openapi import document
from watcher.api.table import ACTIONS
from watcher.mps.faults import RequestError

DOCUMENT = document()
COUNT = 100_000


def _schema(action: str) -> dict[str, Any]:
    operation = DOCUMENT["paths"][f"/#{action}"]["post"]
    return dict(operation["requestBody"]["content"]["application/json"]["schema"])


def test_the_description_is_one() -> None:
    """By the rules of OpenAPI 3.1, and with every action in it."""
    validate(DOCUMENT)
    assert {path.removeprefix("/#") for path in DOCUMENT["paths"]} == set(ACTIONS)
    shown = json.dumps(DOCUMENT)
    for hidden in ("Trusted", "CommandTaskSet", '"Enabled":'):
        assert hidden not in shown


@pytest.mark.parametrize("name", sorted(ACTIONS))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_bodies_are_read_or_refused(name: str, data: st.DataObject) -> None:
    """What the description allows, and what it nearly allows, is a request or an error with a code."""
    body = data.draw(schemas.body(_schema(name), DOCUMENT))
    if not isinstance(body, dict):
        return
    try:
        ACTIONS[name].read(body)
    except RequestError as error:
        assert error.code.partition(".")[0] in (
            "InvalidParameter", "InvalidParameterValue", "MissingParameter", "UnknownParameter",
        )  # fmt: skip
        assert error.message


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without limits, so that the answers are about the requests."""
    made = Service(tmp_path_factory.mktemp("hostile") / "service")
    made.settings["api"]["limits"] = dict.fromkeys(ACTIONS, 1_000_000)
    made.settings["log"] = {"level": "info"}
    client = made.start()
    client.call("CreateAnimatedGraphicsTemplate", Fps=3)
    yield made
    assert made.daemon is not None
    made.daemon.close()
    assert "unexpected error" not in made.daemon.text()


def _signed(service: Service, pair: dict[str, Any], action: str, body: bytes | dict[str, Any]) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return wire.signed_bytes(service.port, action, data, pair["secret_id"], pair["secret_key"])


TABLES = ("workflows", "templates", "tasks", "words", "persons", "faces", "credentials", "sessions", "plans", "outbox")


def _state(service: Service) -> dict[str, Any]:
    assert service.daemon is not None
    return {table: service.daemon.query(f"select * from {table} order by 1") for table in TABLES}


def test_every_action_answers_whatever_it_is_asked(service: Service) -> None:
    """Signed bodies of all kinds, from one who may only look: an answer or an error, never a fault of ours."""
    before = _state(service)
    codes: Counter[str] = Counter()

    @settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(ACTIONS)))
        body = data.draw(schemas.body(_schema(name), DOCUMENT))
        codes[code_of(send(service.port, _signed(service, READER, name, body)))] += 1

    ask()
    assert codes["InternalError"] == 0
    assert codes[""] > 0
    assert _state(service) == before


def test_bodies_that_are_no_parameters(service: Service) -> None:
    """Each is refused with a code of its own, before anything is done."""
    valid = b'{"Fps": 5}'
    action = "CreateAnimatedGraphicsTemplate"
    cases: list[tuple[bytes, str]] = [
        (_signed(service, ADMIN, action, b""), "InvalidRequest"),
        (_signed(service, ADMIN, action, b"[]"), "InvalidRequest"),
        (_signed(service, ADMIN, action, b"null"), "InvalidRequest"),
        (_signed(service, ADMIN, action, b'{"Fps": NaN}'), "InvalidRequest"),
        (_signed(service, ADMIN, action, b'{"Name": "\xff\xfe"}'), "InvalidRequest"),
        (_signed(service, ADMIN, action, b'{"Fps": 5, "Name": "\\ud800"}'), "InvalidRequest"),
        (_signed(service, ADMIN, action, b'{"A":' * 5000 + b"1" + b"}" * 5000), "InvalidRequest"),
        (_signed(service, ADMIN, action, b"[" * 200_000), "InvalidRequest"),
        (_signed(service, ADMIN, action, b'{"Fps": ' + b"9" * 5000 + b"}"), "InvalidRequest"),
        (_signed(service, ADMIN, action, b'{"Fps": 1e400}'), "InvalidParameter"),
        (_signed(service, ADMIN, action, {"Fps": 5, "Width": 2**70}), "InvalidParameterValue"),
        (_signed(service, ADMIN, action, {"Fps": 5, "N" * 5000: 1}), "UnknownParameter"),
        (_signed(service, ADMIN, "DescribeTaskDetail", {"TaskId": "x' or 1=1 --"}), "ResourceNotFound"),
        (_signed(service, ADMIN, "DeleteWorkflow", {"WorkflowId": 2**64}), "InvalidParameterValue"),
        (
            _signed(service, ADMIN, "DescribeTasks", {"Status": "FINISH", "ScrollToken": "////"}),
            "InvalidParameterValue",
        ),
        (_signed(service, ADMIN, action, valid).replace(b"application/json", b"text/html_______"), "AuthFailure"),
        (_signed(service, ADMIN, action, valid + b" " * 11_000_000), "RequestSizeLimitExceeded"),
    ]
    before = _state(service)
    for request, expected in cases:
        code = code_of(send(service.port, request))
        assert code.startswith(expected), (request[:80], code)
    assert _state(service) == before


ACTION = "CreateImageSpriteTemplate"
BODY = {"SampleType": "Time", "SampleInterval": 1, "RowCount": 2, "ColumnCount": 2}
CHANGING = [name for name, item in ACTIONS.items() if item.changes]


@dataclass
class Strangers:
    """Makes requests that must not get through."""

    service: Service
    chance: random.Random

    def forged(self) -> bytes:
        made = bytearray(_signed(self.service, ADMIN, self.chance.choice(CHANGING), BODY))
        at = made.index(b"Signature=") + 10 + self.chance.randrange(64)
        made[at] = ord("0") if made[at] != ord("0") else ord("1")
        return bytes(made)

    def stale(self) -> bytes:
        made = _signed(self.service, ADMIN, ACTION, BODY)
        stamp = made.partition(b"X-TC-Timestamp: ")[2][:10]
        return made.replace(stamp, b"%d" % (int(stamp) + self.chance.choice([-301, -4000, 301, 10**6])))

    def altered(self) -> bytes:
        return _signed(self.service, ADMIN, ACTION, BODY)[:-2] + b"%d}" % self.chance.randrange(3, 10)

    def unknown(self) -> bytes:
        pair = {"secret_id": f"AKID{self.chance.random()}"[:12], "secret_key": "x" * 16}
        return _signed(self.service, pair, ACTION, BODY)

    def powerless(self) -> bytes:
        return _signed(self.service, READER, self.chance.choice(CHANGING), BODY)

    def nonsense(self) -> bytes:
        return _signed(self.service, ADMIN, self.chance.choice(CHANGING), {"Zz": self.chance.random(), **BODY})

    def unsigned(self) -> bytes:
        data = json.dumps(BODY).encode()
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        given = ["", "Authorization: SKIP\r\n", "Authorization: Basic eDp4\r\n", "X-TC-Action: CreateWorkflow\r\n"]
        return f"{head}{self.chance.choice(given)}\r\n".encode() + data

    def form(self) -> bytes:
        data = f"Action={ACTION}&Version=2019-06-12&Nonce=1&Timestamp={int(time.time())}&SecretId={ADMIN['secret_id']}"
        data += f"&Signature={self.chance.random()}"
        head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        return f"{head}Content-Length: {len(data)}\r\n\r\n{data}".encode()

    def query(self) -> bytes:
        asked = f"Action={ACTION}&Signature=x&SecretId={self.chance.random()}&A.{self.chance.random()}=1"
        return f"GET /?{asked} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    def requests(self, replayed: bytes) -> Iterator[bytes]:
        """Without end, and that one among them."""
        kinds = [
            self.forged, self.stale, self.altered, self.unknown, self.powerless, self.nonsense, self.unsigned,
            self.form, self.query, lambda: replayed,
        ]  # fmt: skip
        pool = [make() for make in kinds for _ in range(150)]  # signing takes the test longer than answering takes them
        while True:
            yield self.chance.choice(pool)


def _broken(chance: random.Random) -> bytes:
    """What is no HTTP, or not all of it."""
    kinds = [
        bytes(chance.randrange(256) for _ in range(chance.randrange(200))),
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nshort",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 3000 + b"\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /..%2f..%2fetc/passwd HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ]
    return chance.choice(kinds)


async def _strangers(
    port: int, requests: Iterator[bytes], count: int, codes: Counter[str], chance: random.Random
) -> None:
    """One stranger after another on a connection that is kept while the service keeps it."""
    reader: asyncio.StreamReader | None = None
    for _ in range(count):
        if reader is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            if chance.random() < 0.02:
                writer.write(_broken(chance))
                writer.write_eof()
                answer = await asyncio.wait_for(reader.read(), 20)
                codes["broken " + answer[9:12].decode("latin-1")] += 1
                writer.close()
                reader = None
                continue
            writer.write(next(requests))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            codes[code_of(head + await reader.readexactly(length))] += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            codes["closed"] += 1
            reader = None
    if reader is not None:
        writer.close()


@pytest.mark.timeout(600)
def test_a_hundred_thousand_strangers(service: Service) -> None:
    """Forged, stale, altered, replayed, unsigned, powerless, broken: no 5xx, no answer to any, nothing changed."""
    assert service.daemon is not None
    chance = random.Random(20261121)
    replayed = _signed(service, ADMIN, ACTION, BODY)
    assert code_of(send(service.port, replayed)) == ""
    requests = Strangers(service, chance).requests(replayed)
    time.sleep(2.1)
    before = _state(service)
    memory = _resident(service.daemon.process.pid)
    codes: Counter[str] = Counter()

    async def run() -> None:
        callers = 20
        await asyncio.gather(
            *(_strangers(service.port, requests, COUNT // callers, codes, chance) for _ in range(callers))
        )

    asyncio.run(run())
    assert sum(codes.values()) == COUNT
    assert not [code for code in codes if code.startswith("broken 5")], codes
    assert codes["InternalError"] == codes[""] == 0, codes
    for expected in (
        "AuthFailure.SignatureFailure", "AuthFailure.SignatureExpire", "AuthFailure.SecretIdNotFound",
        "AuthFailure.InvalidAuthorization", "UnauthorizedOperation",
    ):  # fmt: skip
        assert codes[expected] > COUNT / 50, (expected, codes)
    assert codes["UnknownParameter"] >= 10, codes  # of 150 some, and the second time each of them is a replay
    assert _state(service) == before
    assert service.client().call("DescribeWorkflows")["TotalCount"] == 0
    assert _resident(service.daemon.process.pid) < memory + 60, "memory grew with the requests"


def _resident(process: int) -> float:
    """Megabytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def test_slow_strangers_hold_nobody_up(service: Service) -> None:
    """Hundreds of connections that say a part of a request and then nothing."""
    import contextlib
    import socket

    with contextlib.ExitStack() as stack:
        for _ in range(300):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            connection.sendall(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
            )
        started = time.monotonic()
        assert service.client().call("DescribeWorkflows")["TotalCount"] == 0
        assert time.monotonic() - started < 10  # theirs take thirty seconds each


def test_silent_strangers_are_shown_out(tmp_path: Path) -> None:
    """Connections that say nothing are closed after a while, and there are only so many: a caller gets through."""
    import contextlib
    import socket

    service = Service(tmp_path / "service")
    service.daemon = parts.Daemon(service.root / "daemon", service.settings, [])
    service.daemon.start(fault="from watcher import listening as at\nat.FIRST_REQUEST = 1.0\nat.CONNECTIONS = 50")
    try:
        client = service.client()
        assert client.call("DescribeWorkflows")["TotalCount"] == 0
        with contextlib.ExitStack() as stack:
            silent = [
                stack.enter_context(socket.create_connection(("127.0.0.1", service.port))) for _ in range(80)
            ]  # fmt: skip
            for connection in silent:
                connection.settimeout(10)
                assert connection.recv(1) == b""  # those that are too many at once, the others a second later
            # This one has spoken before, and its connection was kept all the while.
            assert client.call("DescribeWorkflows")["TotalCount"] == 0
            assert service.client().call("DescribeWorkflows")["TotalCount"] == 0
    finally:
        service.daemon.close()
