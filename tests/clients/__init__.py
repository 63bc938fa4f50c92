"""The official clients of the model, driven all alike: an action and its body in, the answer or a fault out.

Each is fetched from its registry once, into a cache folder, as it is pinned here; only the parts for MPS are kept,
since the whole packages are a quarter of a gigabyte each.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

HERE = Path(__file__).parent
INTL = "tencentcloud-sdk-python-intl-en==3.1.193"
TCCLI = ("tccli==3.1.189.1", "jmespath==1.1.0", "six==1.17.0")
NODE_SDK = "tencentcloud-sdk-nodejs-mps@4.1.305"
NPM = "10.9.2"


class Fault(Exception):  # noqa: N818  what the service answers
    """An API error, as a client saw it."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"{code}: {message}")


@dataclass(frozen=True)
class Endpoint:
    """Where the service is, and with whose key pair it is called. ``ca`` is the certificate to trust, for TLS."""

    port: int
    secret_id: str
    secret_key: str
    ca: Path | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}" if self.ca is None else f"localhost:{self.port}"

    @property
    def protocol(self) -> str:
        """``http`` or ``https``."""
        return "http" if self.ca is None else "https"

    def as_dict(self) -> dict[str, Any]:
        """For a driver in another process."""
        ca = str(self.ca) if self.ca else None
        return {
            "address": self.address, "protocol": self.protocol, "id": self.secret_id, "key": self.secret_key, "ca": ca,
        }  # fmt: skip


class Client(Protocol):
    """One client, ready to be used."""

    def call(self, action: str, **body: Any) -> dict[str, Any]:
        """The answer without its envelope; raises Fault."""

    def close(self) -> None:
        """Leave nothing behind."""


class PythonClient:
    """``tencentcloud-sdk-python-mps``, with the way of signing and the HTTP method of a program."""

    def __init__(self, endpoint: Endpoint, sign: str = "TC3-HMAC-SHA256", method: str = "POST") -> None:
        from tencentcloud.common import credential
        from tencentcloud.common.profile.client_profile import ClientProfile
        from tencentcloud.common.profile.http_profile import HttpProfile
        from tencentcloud.mps.v20190612 import mps_client

        ca = str(endpoint.ca) if endpoint.ca else None
        http = HttpProfile(
            protocol=endpoint.protocol, endpoint=endpoint.address, reqMethod=method, certification=ca, keepAlive=True
        )
        pair = credential.Credential(endpoint.secret_id, endpoint.secret_key)
        self._client = mps_client.MpsClient(pair, "", ClientProfile(signMethod=sign, httpProfile=http))

    def call(self, action: str, **body: Any) -> dict[str, Any]:
        return json.loads(self.typed(action, **body).to_json_string())  # type: ignore[no-any-return]

    def typed(self, action: str, **body: Any) -> Any:
        """The response object."""
        from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
        from tencentcloud.mps.v20190612 import models

        request = getattr(models, f"{action}Request")()
        request.from_json_string(json.dumps(body))
        try:
            return getattr(self._client, action)(request)
        except TencentCloudSDKException as error:
            raise Fault(error.code, error.message) from None

    def close(self) -> None:
        pass


class AsyncPythonClient:
    """The same package's asynchronous client, on a loop of its own."""

    def __init__(self, endpoint: Endpoint) -> None:
        from tencentcloud.common import credential
        from tencentcloud.common.profile.client_profile import ClientProfile
        from tencentcloud.common.profile.http_profile import HttpProfile
        from tencentcloud.mps.v20190612 import mps_client_async

        http = HttpProfile(protocol=endpoint.protocol, endpoint=endpoint.address)
        pair = credential.Credential(endpoint.secret_id, endpoint.secret_key)
        self._loop = asyncio.new_event_loop()

        async def make() -> Any:
            return mps_client_async.MpsClient(pair, "", ClientProfile(httpProfile=http))

        self._client = self._loop.run_until_complete(make())

    def call(self, action: str, **body: Any) -> dict[str, Any]:
        from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
        from tencentcloud.mps.v20190612 import models

        request = getattr(models, f"{action}Request")()
        request.from_json_string(json.dumps(body))
        try:
            answer = self._loop.run_until_complete(getattr(self._client, action)(request))
        except TencentCloudSDKException as error:
            raise Fault(error.code, error.message) from None
        return json.loads(answer.to_json_string())  # type: ignore[no-any-return]

    def close(self) -> None:
        for name in ("close", "aclose"):
            closing = getattr(self._client, name, None)
            if closing is not None:
                found = closing()
                if asyncio.iscoroutine(found):
                    self._loop.run_until_complete(found)
                break
        self._loop.close()


class DrivenClient:
    """A client in a process of its own, which reads calls from its standard input and writes what came of them."""

    def __init__(self, command: list[str], endpoint: Endpoint, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [*command, json.dumps(endpoint.as_dict())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            text=True,
        )

    def call(self, action: str, **body: Any) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([action, body]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the client ended with status {self._process.wait(10)}"
        code, answer = json.loads(line)
        if code is not None:
            raise Fault(code, answer)
        return dict(answer)

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(20)


class TccliClient:
    """The command-line client, over TLS."""

    def __init__(self, folder: Path, endpoint: Endpoint, home: Path) -> None:
        self._endpoint = endpoint
        self._home = home
        # It trusts the certificates of certifi and offers no choice.
        (home / "certifi.py").write_text(f"def where():\n    return {str(endpoint.ca)!r}\n")
        path = os.pathsep.join([str(home), str(folder)])
        environment = {**os.environ, "PYTHONPATH": path, "HOME": str(home), "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, str(Path(__file__).with_name("tccli_driver.py"))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def call(self, action: str, **body: Any) -> dict[str, Any]:
        given = self._home / "body.json"
        given.write_text(json.dumps(body))
        where = ["--endpoint", self._endpoint.address, "--region", "ap-guangzhou"]
        pair = ["--secretId", self._endpoint.secret_id, "--secretKey", self._endpoint.secret_key]
        arguments = ["mps", action, *where, *pair, "--cli-input-json", f"file://{given}"]
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the driver ended with status {self._process.wait(10)}"
        status, said = json.loads(line)
        if status:
            match = re.search(r"code:(\S+) message:(.*?) requestId:", said, re.DOTALL)
            assert match, said
            raise Fault(match[1], match[2])
        return json.loads(said)  # type: ignore[no-any-return]

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(20)


def _downloaded(requirement: str, folder: Path) -> Path:
    """A wheel of a package, from the registry that pip uses."""
    into = folder / "wheels"
    into.mkdir(exist_ok=True)
    name = requirement.partition("==")[0].replace("-", "_")
    if not list(into.glob(f"{name}-*.whl")):
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(into), requirement],
            check=True, capture_output=True,
        )  # fmt: skip
    (wheel,) = into.glob(f"{name}-*.whl")
    return wheel


def _unpack(wheel: Path, into: Path, wanted: Callable[[str], bool]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into, [name for name in archive.namelist() if wanted(name)])


def intl_folder(cache: Path) -> Path:
    """A folder with the international SDK's MPS client."""
    into = cache / "intl"
    if not into.exists():
        parts = ("tencentcloud/__init__", "tencentcloud/common/", "tencentcloud/mps/")
        _unpack(_downloaded(INTL, cache), into, lambda name: name.startswith(parts))
    return into


def tccli_folder(cache: Path) -> Path:
    """A folder with tccli and its MPS service; the SDK below it is the one that is installed."""
    into = cache / "tccli"
    if not into.exists():
        for requirement in TCCLI:
            _unpack(_downloaded(requirement, cache), into, _is_of_tccli)
    return into


def _is_of_tccli(name: str) -> bool:
    """All but other services, and a plugin that needs one of them."""
    if name.startswith("tccli/services/"):
        return name.startswith(("tccli/services/mps/", "tccli/services/__init__"))
    return not name.startswith("tccli/plugins/test/")


def node_folder(cache: Path) -> Path:
    """A folder with the Node.js SDK, installed by npm: the one of this machine, else one from the registry."""
    into = cache / "node"
    if not (into / "node_modules").exists():
        into.mkdir(exist_ok=True)
        npm = [shutil.which("npm") or ""]
        if not npm[0]:
            npm = ["node", str(_npm(cache))]
        command = [*npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", NODE_SDK]
        subprocess.run(command, cwd=into, check=True, capture_output=True)
    return into


def _npm(cache: Path) -> Path:
    place = cache / "npm"
    if not place.exists():
        registry = os.environ.get("NPM_REGISTRY", "https://registry.npmjs.org/").rstrip("/")
        with urllib.request.urlopen(f"{registry}/npm/-/npm-{NPM}.tgz", timeout=120) as answer:
            (cache / "npm.tgz").write_bytes(answer.read())
        with tarfile.open(cache / "npm.tgz") as archive:
            archive.extractall(place, filter="data")
    return place / "package" / "bin" / "npm-cli.js"


KINDS = ("python", "python-async", "python-intl", "nodejs", "tccli")


def opened(kind: str, endpoint: Endpoint, cache: Path) -> Client:
    """A client by its kind; tccli needs an endpoint with TLS."""
    if kind == "python":
        return PythonClient(endpoint)
    if kind == "python-async":
        return AsyncPythonClient(endpoint)
    if kind == "python-intl":
        command = [sys.executable, str(HERE / "driver.py")]
        return DrivenClient(command, endpoint, {"PYTHONPATH": str(intl_folder(cache)), "PYTHONWARNINGS": "ignore"})
    if kind == "nodejs":
        node = shutil.which("node")
        assert node, "node is missing: run the tests by `bash .ci/test`, which installs what they need"
        folder = str(node_folder(cache) / "node_modules")
        environment = {"NODE_PATH": folder, "NODE_EXTRA_CA_CERTS": str(endpoint.ca or "")}
        return DrivenClient([node, str(HERE / "driver.cjs")], endpoint, environment)
    assert kind == "tccli"
    home = cache / f"home-{endpoint.port}"
    home.mkdir(exist_ok=True)
    return TccliClient(tccli_folder(cache), endpoint, home)
