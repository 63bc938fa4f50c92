"""What notifications of buckets say, whichever service wrote them. One decoder for all sources.

The dialect is told by its own marks, never by trying one after another: ``a+b`` and ``a b`` may both be objects, and
each dialect escapes keys in its own way. Nothing here is believed: whoever launches asks the storage.

=============== ================================================ ===========================
dialect         recognised by                                    key
=============== ================================================ ===========================
``s3``          ``Records[].eventSource`` ``aws:s3``             form-encoded
``sns``         ``Type`` ``Notification`` around another         as that
``eventbridge`` ``source`` ``aws.s3``                            as it is
``minio``       ``Records[].eventSource`` ``minio:s3``           form-encoded; streams: as it is
``ceph``        ``Records[].eventSource`` ``ceph:s3``            form-encoded
``rustfs``      ``records`` in snake_case                        form-encoded, if there at all
``cos``         ``Records[].cos``, or CloudEvents ``cos:…``      behind ``/<appid>/<bucket>/``
=============== ================================================ ===========================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from watcher.model.objects import other_mark, sequence_mark

MAX_BODY = 1024 * 1024
"""Bytes of one message that are looked at."""
_METADATA_ONLY = frozenset({"PutTagging", "DeleteTagging", "PutRetention", "PutLegalHold"})
"""What MinIO calls created although only something about the object changed."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An object that a notification speaks of, by the name of its bucket there. ``mark`` is that of the change."""

    bucket: str
    key: str
    version_id: str | None = None
    mark: bytes | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What is in a message. ``irrelevant`` counts records that need nothing: removals, tests, tags.

    ``strange`` holds a sentence for each record that could not be read; such a message is kept for a person.
    ``sweep`` names buckets in which something changed, where the message did not say what.
    """

    heard: tuple[Heard, ...] = ()
    irrelevant: int = 0
    strange: tuple[str, ...] = ()
    sweep: tuple[str, ...] = ()

    def __add__(self, other: Decoded) -> Decoded:
        return Decoded(
            self.heard + other.heard,
            self.irrelevant + other.irrelevant,
            self.strange + other.strange,
            self.sweep + other.sweep,
        )


_IRRELEVANT = Decoded(irrelevant=1)


def _strange(reason: str) -> Decoded:
    return Decoded(strange=(reason,))


def decode(body: str | bytes, *, streamed: bool = False) -> Decoded:
    """The objects in a message; ``streamed`` says that it is a line of MinIO's ListenNotification."""
    if len(body) > MAX_BODY:
        return _strange(f"the message has more than {MAX_BODY} bytes")
    try:
        message = json.loads(body)
    except RecursionError:
        return _strange("the message is nested too deep")
    except (ValueError, UnicodeDecodeError):
        return _strange("the message is not JSON")
    try:
        return _message(message, streamed=streamed)
    except RecursionError:
        return _strange("the message is nested too deep")


def _message(message: Any, *, streamed: bool, enveloped: bool = False) -> Decoded:
    if isinstance(message, list):  # EventBridge Pipes hand over several at once
        return sum((_message(item, streamed=streamed, enveloped=enveloped) for item in message), Decoded())
    if not isinstance(message, dict):
        return _strange("the message is no object in JSON")
    if message.get("Event") == "s3:TestEvent":
        return _IRRELEVANT
    if "TopicArn" in message or message.get("Type") in ("Notification", "SubscriptionConfirmation"):
        return _sns(message, streamed=streamed, enveloped=enveloped)
    if message.get("source") == "aws.s3" and "detail-type" in message:
        return _eventbridge(message)
    if "specversion" in message and str(message.get("type", "")).startswith("cos:"):
        return _cloud_event(message)
    if isinstance(message.get("records"), list):
        return sum((_record(item, _rustfs) for item in message["records"]), Decoded())
    if isinstance(message.get("Records"), list):
        return sum((_record(item, _decoder_of(item, streamed=streamed)) for item in message["Records"]), Decoded())
    return _strange("the message is of no dialect that is known")


def _sns(message: Mapping[str, Any], *, streamed: bool, enveloped: bool) -> Decoded:
    if message.get("Type") == "SubscriptionConfirmation":
        # Its address is anybody's, so it is not asked.
        return _strange("SNS asks to confirm a subscription; confirm it by hand")
    inner = message.get("Message")
    if enveloped or not isinstance(inner, str):
        return _strange("an SNS envelope without a message in it")
    try:
        return _message(json.loads(inner), streamed=streamed, enveloped=True)
    except ValueError:
        return _strange("the message in an SNS envelope is not JSON")


Decoder = Callable[[Mapping[str, Any]], Decoded]


def _record(record: Any, decoder: Decoder | None) -> Decoded:
    if not isinstance(record, dict) or decoder is None:
        return _strange("a record is of no dialect that is known")
    try:
        return decoder(record)
    except (KeyError, TypeError, AttributeError) as error:
        return _strange(f"a record lacks {error}")


def _decoder_of(record: Any, *, streamed: bool) -> Decoder | None:
    if not isinstance(record, dict):
        return None
    if "cos" in record:
        return _cos
    decoders: dict[str, Decoder] = {
        "aws:s3": _s3, "minio:s3": _streamed if streamed else _s3, "ceph:s3": _s3,
    }  # fmt: skip
    return decoders.get(str(record.get("eventSource")))


def _form_decoded(key: str) -> str:
    return unquote_plus(key, encoding="utf-8", errors="surrogateescape")


def _version(value: Any) -> str | None:
    return str(value) if value not in (None, "", "null") else None


def _created(name: str) -> bool:
    kind, _, how = name.removeprefix("s3:").partition(":")
    if kind == "ObjectRestore":  # archived bytes that can be read now
        return how == "Completed"
    return kind == "ObjectCreated" and how not in _METADATA_ONLY


def _s3(record: Mapping[str, Any]) -> Decoded:
    return _s3_record(record, _form_decoded)


def _streamed(record: Mapping[str, Any]) -> Decoded:
    return _s3_record(record, str)


def _s3_record(record: Mapping[str, Any], key_of: Callable[[str], str]) -> Decoded:
    if not _created(str(record["eventName"])):
        return _IRRELEVANT
    found = record["s3"]["object"]
    version = _version(found.get("versionId"))
    mark = None if _restored(record["eventName"]) else _mark(found, record.get("eventTime"))
    return Decoded((Heard(_text(record["s3"]["bucket"]["name"]), key_of(_text(found["key"])), version, mark),))


def _restored(name: Any) -> bool:
    return "ObjectRestore" in str(name) or name == "Object Restore Completed"


def _mark(found: Mapping[str, Any], when: Any) -> bytes:
    """What tells this change from others of the key: its place in a sequence, else all that was said of it."""
    mark = sequence_mark(str(found.get("sequencer") or ""))
    return mark or other_mark(*(str(found.get(name)) for name in ("eTag", "etag", "size", "versionId")), str(when))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a name that is a text")
    return value


def _eventbridge(message: Mapping[str, Any]) -> Decoded:
    if message["detail-type"] not in ("Object Created", "Object Restore Completed"):
        return _IRRELEVANT

    def read(detail: Mapping[str, Any]) -> Decoded:
        found = detail["object"]
        mark = None if _restored(message["detail-type"]) else _mark(found, message.get("time"))
        return Decoded(
            (Heard(_text(detail["bucket"]["name"]), _text(found["key"]), _version(found.get("version-id")), mark),)
        )

    return _record(message.get("detail"), read)


def _rustfs(record: Mapping[str, Any]) -> Decoded:
    name = str(record.get("event_name") or record.get("eventName") or "")
    if not name.removeprefix("s3:").startswith("ObjectCreated"):
        return _IRRELEVANT
    found, bucket = record["s3"]["object"], _text(record["s3"]["bucket"]["name"])
    if found.get("key") in (None, "", bucket):  # rustfs/rustfs#1154
        return Decoded(sweep=(bucket,))
    version = _version(found.get("version_id") or found.get("versionId"))
    return Decoded((Heard(bucket, _form_decoded(_text(found["key"])), version),))


def _cos(record: Mapping[str, Any]) -> Decoded:
    if not str(record["event"]["eventName"]).startswith(("cos:ObjectCreated:", "cos:ObjectRestore:Completed")):
        return _IRRELEVANT
    return _cos_object(record["cos"], record["event"].get("eventTime"))


def _cloud_event(message: Mapping[str, Any]) -> Decoded:
    if not str(message["type"]).startswith("cos:created:"):
        return _IRRELEVANT
    return _record(message.get("data"), lambda data: _cos_object(data["cos"], message.get("time")))


def _cos_object(cos: Mapping[str, Any], when: Any) -> Decoded:
    """The bucket's name comes without its APPID, the key with both (contract workflows.md, section 7)."""
    bucket, found = cos["cosBucket"], cos["cosObject"]
    name, appid = _text(bucket["name"]), str(bucket["appid"])
    full = name if name.endswith(f"-{appid}") else f"{name}-{appid}"
    key = _text(found["key"])
    short = full.removesuffix(f"-{appid}")
    prefixes = (f"/{appid}/{short}/", f"/{appid}/{full}/", "/")
    prefix = next((prefix for prefix in prefixes if key.startswith(prefix)), "")
    mark = other_mark("cos", str(found.get("size")), str(found.get("vid")), str(when))
    return Decoded((Heard(full, key.removeprefix(prefix), _version(found.get("vid")), mark),))
