"""From an HTTP request to an answer: verify, limit, decode, act (contract api.md, sections 1 to 5).

API errors are answers like others, with status 200; other statuses say that it was no call of the API at all.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from watcher import log
from watcher.api.base import Action, Body, Call, Caller, Rights, Service
from watcher.api.limits import Limits, Replays
from watcher.api.pictures import PREFIX
from watcher.api.table import ACTIONS, KNOWN
from watcher.errors import WatcherError
from watcher.listening import read_body
from watcher.model.dress import WatermarkTemplate
from watcher.mps import signature
from watcher.mps.faults import RequestError
from watcher.mps.flat import unflatten
from watcher.mps.signature import Arrived, Verified

if TYPE_CHECKING:
    from aiohttp import web

_log = log.get("api")

VERSION = "2019-06-12"
LARGEST_BODY = 10 * 1024 * 1024
LARGEST_FORM = 1024 * 1024
LARGEST_QUERY = 32 * 1024
SMALL_BODY = 256 * 1024
"""Bytes of a body that may be read before it is known who sends it."""
BODY_TIME = 30.0
AT_ONCE = 256
"""Calls that are worked on at the same time; others wait."""
LARGE_AT_ONCE = 16
"""Large bodies that are read at the same time."""
DEEPEST = 64

KeyOf = Callable[[str], Caller | None]


class Api:
    """Answers requests. ``caller_of`` finds a key pair by its SecretId."""

    def __init__(self, service: Service, caller_of: KeyOf) -> None:
        self._service = service
        self._caller_of = caller_of
        self._limits = Limits(service.settings.api.limits)
        self._replays = Replays()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, to its answer."""
        from aiohttp import web  # noqa: PLC0415  loaded by whoever serves

        path, _, query = request.raw_path.partition("?")
        if path == "/healthz":
            return web.Response(body=b"ok\n", content_type="text/plain")
        if path.startswith(PREFIX) and request.method == "GET":
            return await self._picture(path, query)
        if path != "/":
            return web.Response(status=404, body=b"the API is at /\n", content_type="text/plain")
        if request.method not in ("GET", "POST"):
            return web.Response(status=405, body=b"use POST or GET\n", headers={"Allow": "GET, POST"})
        request_id = str(uuid.UUID(int=random.getrandbits(128), version=4))  # it names a call, and protects nothing
        response = await self._answer(request, query, request_id)
        response["RequestId"] = request_id
        body = json.dumps({"Response": response}, ensure_ascii=False, separators=(",", ":"))
        # Clients look for errors only where the type has no parameters (api.md, section 5).
        return web.Response(body=body.encode("utf-8", "replace"), headers={"Content-Type": "application/json"})

    async def _answer(self, request: web.BaseRequest, query: str, request_id: str) -> Body:
        try:
            arrived = await self._arrived(request, query)
            async with self._slots:  # not before: who sends slowly holds nobody up
                return await self._act(arrived, f"{request.scheme}://{request.headers.get('Host', '')}")
        except RequestError as error:
            _log.debug("refused", code=error.code, message=error.message, request=request_id)
            return {"Error": {"Code": error.code, "Message": error.message}}
        except WatcherError as error:
            _log.error("a call failed", error=str(error), request=request_id)
            return {"Error": {"Code": "InternalError", "Message": str(error)}}
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            _log.exception("unexpected error in a call", request=request_id)
            message = f"unexpected error; the log has it under {request_id}"
            return {"Error": {"Code": "InternalError", "Message": message}}

    async def _arrived(self, request: web.BaseRequest, query: str) -> Arrived:
        """The request with its body, which strangers can't have read at length."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        length = request.content_length or 0
        if len(query) > LARGEST_QUERY:
            raise _too_large("query", LARGEST_QUERY)
        largest = LARGEST_BODY
        if "authorization" not in headers:
            largest = LARGEST_FORM
        if length > largest:
            raise _too_large("body", largest)
        arrived = Arrived(request.method, query, headers, b"", encrypted=request.scheme == "https")
        claimed = signature.claimed_id(arrived)
        if claimed is None or self._caller_of(claimed) is None:
            largest = min(largest, SMALL_BODY if "authorization" in headers else LARGEST_FORM)
        if length > SMALL_BODY or request.content_length is None:
            async with self._large:
                body = await _body(request, largest)
        else:
            body = await _body(request, largest)
        return replace(arrived, body=body)

    async def _act(self, arrived: Arrived, origin: str) -> Body:
        now = time.time()
        verified = signature.verify(arrived, self._secret_key, now)
        caller = self._caller_of(verified.secret_id)
        assert caller is not None  # noqa: S101  its key was just used
        action = _action(verified)
        if caller.rights == Rights.NONE:
            raise RequestError("FailedOperation.InvalidMpsUser", "this key pair may not use the service")
        if not self._limits.take(caller.secret_id, action.name, action.rate, now):
            rate = self._limits.rate(action.name, action.rate)
            raise RequestError("RequestLimitExceeded", f"more than {rate} calls of {action.name} a second")
        if caller.rights < action.rights:
            message = f"{action.name} needs the rights of an {action.rights.name.lower()}"
            raise RequestError("UnauthorizedOperation", message)
        if action.changes and self._replays.is_one(verified.token, now):
            message = "this very request was made before; sign it anew"
            raise RequestError("AuthFailure.SignatureFailure", message)
        body = _parameters(arrived, verified)
        try:
            request = action.read(body)
        except RecursionError:
            raise RequestError("InvalidRequest", "the body is nested too deep") from None
        answer = await action.run(self._service, Call(request, caller, now, origin))
        if action.changes:
            _log.info("called", action=action.name, by=caller.secret_id, **_names(answer))
        return answer

    def _secret_key(self, secret_id: str) -> str | None:
        caller = self._caller_of(secret_id)
        return caller.secret_key if caller is not None else None

    async def _picture(self, path: str, query: str) -> web.StreamResponse:
        from aiohttp import web  # noqa: PLC0415

        named = self._service.pictures.name_of(path, query)
        data = await self._picture_data(*named) if named is not None else None
        if data is None:
            return web.Response(status=404, body=b"there is no such picture, or its address is too old\n")
        kind = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
        safe = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"}
        return web.Response(body=data, content_type=kind, headers=safe)

    async def _picture_data(self, kind: str, name: str) -> bytes | None:
        if kind == "faces":
            return await self._service.state.persons.picture(name)
        template = self._service.catalog.templates.get(("watermark", int(name) if name.isdecimal() else -1))
        if isinstance(template, WatermarkTemplate) and template.image_template is not None:
            return template.image_template.content
        return None


def _names(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What a call made, for the log."""
    return {name: answer[name] for name in ("WorkflowId", "ScheduleId", "TaskId", "Definition") if name in answer}


def _too_large(what: str, largest: int) -> RequestError:
    return RequestError("RequestSizeLimitExceeded", f"the {what} is larger than {largest} bytes")


async def _body(request: web.BaseRequest, largest: int) -> bytes:
    try:
        async with asyncio.timeout(BODY_TIME):
            body = await read_body(request, largest)
    except TimeoutError:
        raise RequestError("InvalidRequest", f"the body did not come within {BODY_TIME:.0f} seconds") from None
    if body is None:
        raise _too_large("body", largest)
    return body


def _action(verified: Verified) -> Action:
    if verified.version != VERSION:
        raise RequestError("NoSuchVersion", f"the version is {VERSION}, not {verified.version[:40]!r}")
    found = ACTIONS.get(verified.action)
    if found is not None:
        return found
    if verified.action in KNOWN:
        message = f"{verified.action} is part of the MPS model, but this version does not have it"
        raise RequestError("UnsupportedOperation", message)
    raise RequestError("InvalidAction", f"there is no action {verified.action[:80]!r}")


def _parameters(arrived: Arrived, verified: Verified) -> Body:
    if verified.fields is not None:
        return unflatten(verified.fields)
    kind = arrived.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError("InvalidRequest", f"Content-Type: use application/json, not {kind[:80]!r}")
    try:
        body = json.loads(arrived.body.decode("utf-8"), parse_constant=_no_constant)
        if b"\\u" in arrived.body:
            json.dumps(body, ensure_ascii=False).encode("utf-8")  # half of a surrogate pair is no text
    except RecursionError:
        raise RequestError("InvalidRequest", "the body is nested too deep") from None
    except ValueError as error:
        raise RequestError("InvalidRequest", f"the body is not JSON in UTF-8: {str(error)[:200]}") from None
    if not isinstance(body, dict):
        raise RequestError("InvalidRequest", "the body must be an object of parameters")
    if _depth(body) > DEEPEST:
        raise RequestError("InvalidRequest", "the body is nested too deep")
    return body


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level and depth <= DEEPEST:
        depth += 1
        level = [
            item
            for container in level
            for item in (
                container.values() if isinstance(container, dict) else container if isinstance(container, list) else ()
            )
            if isinstance(item, dict | list)
        ]
    return depth
