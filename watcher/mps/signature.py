"""Signatures of requests: TC3-HMAC-SHA256 and the older ones (contract api.md, sections 2 and 3).

What arrives is verified as it arrived: header values are not lower-cased, the query is not sorted, and the host is
whatever the client put into its ``Host`` header, since official clients sign that. Some take the service of the scope
from the first part of the endpoint's name, so that it may be any.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import parse_qsl

from watcher.mps.faults import RequestError

CLOCK_WINDOW = 300
"""Seconds that a client's clock may differ."""

_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256\s+Credential=([^/,\s]+)/(\d{4}-\d\d-\d\d)/([^/,\s]+)/tc3_request,\s*"
    r"SignedHeaders=([a-z0-9;-]+),\s*Signature=([0-9a-f]{64})"
)
_PORT = re.compile(r":\d+\Z")
_UNSIGNED = "UNSIGNED-PAYLOAD"
_METHODS = {"HmacSHA1": hashlib.sha1, "HmacSHA256": hashlib.sha256}
_COMMON = frozenset({
    "Action", "Version", "Nonce", "Timestamp", "SecretId", "Signature", "SignatureMethod", "Region", "Token",
    "Language", "RequestClient",
})  # fmt: skip
"""Parameters of a v1 request that are not the action's own."""

KeyOf = Callable[[str], str | None]
"""The secret key of a SecretId, or None when there is none."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request as it arrived. ``headers`` have lower-case names; ``query`` is the text behind ``?``."""

    method: str
    query: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """Who asks for what. ``fields`` are flattened parameters as texts, None when they are JSON in the body.

    ``token`` is the same for the same signature only.
    """

    secret_id: str
    action: str
    version: str
    token: bytes
    fields: tuple[tuple[str, str], ...] | None


def claimed_id(request: Arrived) -> str | None:
    """The SecretId that a TC3 request claims to be of, before anything of it is verified."""
    match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", "").strip())
    return match[1] if match else None


def verify(request: Arrived, key_of: KeyOf, now: float) -> Verified:
    """Who signed it; raises RequestError with one of the ``AuthFailure`` codes."""
    if request.method != "GET" and request.query:
        raise RequestError("InvalidRequest", "a POST has its parameters in the body; what is behind ? is not signed")
    if "authorization" in request.headers or "x-tc-action" in request.headers:
        return _verify_tc3(request, key_of, now)
    return _verify_v1(request, key_of, now)


def _fields(text: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=10_000))
    except ValueError as error:
        raise RequestError("InvalidRequest", f"the parameters can't be read: {error}") from None


def _key(secret_id: str, key_of: KeyOf) -> str:
    key = key_of(secret_id)
    if key is None:
        raise RequestError(
            "AuthFailure.SecretIdNotFound", f"there is no SecretId {secret_id[:64]!r}, or it was revoked"
        )
    return key


def _check_time(text: str, now: float) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 12:
        raise RequestError("InvalidParameter", "Timestamp must be a number of seconds since 1970")
    if abs(now - int(text)) > CLOCK_WINDOW:
        message = f"Timestamp {text} is more than five minutes from the server's clock, {int(now)}"
        raise RequestError("AuthFailure.SignatureExpire", message)
    return int(text)


def _no_token(given: str | None) -> None:
    if given:
        message = "temporary credentials are not supported: sign with a permanent pair, without Token"
        raise RequestError("AuthFailure.TokenFailure", message)


def _verify_tc3(request: Arrived, key_of: KeyOf, now: float) -> Verified:
    headers = request.headers
    given = headers.get("authorization", "").strip()
    match = _AUTHORIZATION.fullmatch(given)
    if match is None:
        what = "Authorization is missing" if not given else "Authorization is not as TC3-HMAC-SHA256 has it"
        message = f"{what}: requests have to be signed"
        raise RequestError("AuthFailure.InvalidAuthorization", message)
    secret_id, date, service, signed, signature = match.groups()
    action = _required(headers, "x-tc-action", "X-TC-Action")
    version = _required(headers, "x-tc-version", "X-TC-Version")
    stamp = _required(headers, "x-tc-timestamp", "X-TC-Timestamp")
    _no_token(headers.get("x-tc-token"))
    key = _key(secret_id, key_of)
    timestamp = _check_time(stamp, now)
    if date != datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d"):
        message = "the scope of Credential must be <date of X-TC-Timestamp>/mps/tc3_request"
        raise RequestError("AuthFailure.InvalidAuthorization", message)
    names = signed.split(";")
    made = (tc3_signature(key, canonical(seen(request), names), stamp, f"{date}/{service}") for seen in _AS_SIGNED)
    if not any(hmac.compare_digest(expected, signature) for expected in made):
        raise RequestError("AuthFailure.SignatureFailure", "the signature does not fit the request and the SecretKey")
    fields = _fields(request.query) if request.method == "GET" else None
    return Verified(secret_id, action, version, bytes.fromhex(signature), fields)


def _portless(request: Arrived) -> Arrived:
    """As some clients sign it (the one for Node.js): without the port that they send."""
    host = _PORT.sub("", request.headers.get("host", ""))
    return replace(request, headers={**request.headers, "host": host})


def _as_sent(request: Arrived) -> Arrived:
    return request


_AS_SIGNED = (_as_sent, _portless)


def _required(headers: Mapping[str, str], name: str, shown: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise RequestError("MissingParameter", f"{shown}: is required")
    return value


def canonical(request: Arrived, signed: list[str]) -> str:
    """The canonical request; raises RequestError when too little of it is signed."""
    if not {"content-type", "host"} <= set(signed):
        raise RequestError("AuthFailure.InvalidAuthorization", "SignedHeaders must hold content-type and host")
    missing = [name for name in signed if name not in request.headers]
    if missing:
        message = f"SignedHeaders names {missing[0]}, which the request does not have"
        raise RequestError("AuthFailure.InvalidAuthorization", message)
    lines = "".join(f"{name}:{request.headers[name].strip()}\n" for name in signed)
    if request.headers.get("x-tc-content-sha256") == _UNSIGNED:
        if not request.encrypted:
            message = "X-TC-Content-SHA256: UNSIGNED-PAYLOAD is accepted over TLS only"
            raise RequestError("AuthFailure.SignatureFailure", message)
        payload: bytes = _UNSIGNED.encode()
    else:
        payload = b"" if request.method == "GET" else request.body
    query = request.query if request.method == "GET" else ""
    hashed = hashlib.sha256(payload).hexdigest()
    return f"{request.method}\n/\n{query}\n{lines}\n{';'.join(signed)}\n{hashed}"


def tc3_signature(secret_key: str, canonical_request: str, timestamp: str, scope: str) -> str:
    """The signature in lower-case hex; ``scope`` is ``<date>/<service>``."""
    hashed = hashlib.sha256(canonical_request.encode("utf-8", "surrogateescape")).hexdigest()
    text = f"TC3-HMAC-SHA256\n{timestamp}\n{scope}/tc3_request\n{hashed}"
    made = _signer(secret_key, scope).copy()
    made.update(text.encode())
    return made.hexdigest()


@lru_cache(maxsize=256)
def _signer(secret_key: str, scope: str) -> hmac.HMAC:
    """What signs for one key and one day: deriving it takes four times as long as using it."""
    date, _, service = scope.partition("/")
    key = hmac.digest(f"TC3{secret_key}".encode(), date.encode(), "sha256")
    key = hmac.digest(key, service.encode(), "sha256")
    return hmac.new(hmac.digest(key, b"tc3_request", "sha256"), digestmod="sha256")


def _verify_v1(request: Arrived, key_of: KeyOf, now: float) -> Verified:
    if request.method == "GET":
        pairs = _fields(request.query)
    else:
        if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            message = "Authorization is missing: requests have to be signed"
            raise RequestError("AuthFailure.InvalidAuthorization", message)
        try:
            pairs = _fields(request.body.decode("ascii"))
        except UnicodeDecodeError:
            raise RequestError("InvalidRequest", "a form has to be URL-encoded") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise RequestError("InvalidRequest", "a parameter is given twice")
    if "Signature" not in values or "SecretId" not in values:
        raise RequestError("AuthFailure.InvalidAuthorization", "Signature is missing: requests have to be signed")
    for name in ("Action", "Version", "Nonce", "Timestamp"):
        if not values.get(name):
            raise RequestError("MissingParameter", f"{name}: is required")
    _no_token(values.get("Token"))
    method = values.get("SignatureMethod", "HmacSHA1")
    if method not in _METHODS:
        raise RequestError("InvalidParameter", f"SignatureMethod: use one of {', '.join(_METHODS)}")
    key = _key(values["SecretId"], key_of)
    _check_time(values["Timestamp"], now)
    made = (
        v1_signature(key, v1_text(request.method, seen(request).headers.get("host", ""), values), method)
        for seen in _AS_SIGNED
    )
    given = values["Signature"].encode("utf-8", "surrogateescape")
    if not any(hmac.compare_digest(expected.encode(), given) for expected in made):
        raise RequestError("AuthFailure.SignatureFailure", "the signature does not fit the request and the SecretKey")
    fields = tuple((name, value) for name, value in pairs if name not in _COMMON)
    return Verified(values["SecretId"], values["Action"], values["Version"], given, fields)


def v1_text(method: str, host: str, values: Mapping[str, str]) -> str:
    """What a v1 signature is made over."""
    rest = sorted((name.replace("_", "."), value) for name, value in values.items() if name != "Signature")
    return f"{method}{host}/?" + "&".join(f"{name}={value}" for name, value in rest)


def v1_signature(secret_key: str, text: str, method: str) -> str:
    """The signature in base64. SHA-1 is what the contract's older clients use."""
    made = hmac.new(secret_key.encode(), text.encode("utf-8", "surrogateescape"), _METHODS[method])
    return base64.b64encode(made.digest()).decode()
