"""Addresses of pictures that requests brought: signed for a while, since nothing else is served unsigned."""

from __future__ import annotations

import hmac
import secrets
import time
from urllib.parse import parse_qs

VALID = 24 * 3600
"""Seconds that an address of a picture is good for."""
PREFIX = "/pictures/"


class Pictures:
    """Makes addresses and reads them back. The key lasts as long as the process: addresses are asked for anew."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def url(self, origin: str, kind: str, name: str) -> str:
        """The address of a picture; ``origin`` is how the service was called, e.g. ``http://127.0.0.1:8080``."""
        expires = int(time.time()) + VALID
        return f"{origin}{PREFIX}{kind}/{name}?expires={expires}&sign={self._sign(f'{kind}/{name}', expires)}"

    def name_of(self, path: str, query: str) -> tuple[str, str] | None:
        """(kind, name) of an address that is one of ours and still good."""
        place = path.removeprefix(PREFIX)
        values = parse_qs(query)
        expires, sign = values.get("expires", [""])[0], values.get("sign", [""])[0]
        if not expires.isascii() or not expires.isdecimal() or len(expires) > 12 or int(expires) < time.time():
            return None
        if not hmac.compare_digest(self._sign(place, int(expires)).encode(), sign.encode("utf-8", "replace")):
            return None
        kind, _, name = place.partition("/")
        return kind, name

    def _sign(self, place: str, expires: int) -> str:
        return hmac.digest(self._key, f"{place}:{expires}".encode("utf-8", "replace"), "sha256").hex()
