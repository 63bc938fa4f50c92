"""What an order refers to: buckets that exist and may be named, notifiers, programs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import BaseModel

from watcher import catalog
from watcher.api.base import Caller, Service
from watcher.errors import AccessRefused, PermanentError, Problem, TransientError
from watcher.model.objects import URL
from watcher.model.order import Order
from watcher.model.resources import MediaInputInfo, OutputStorage
from watcher.model.workflow import Triggered
from watcher.mps import files
from watcher.mps.faults import RequestError, fault_of

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def check_triggered(service: Service, caller: Caller, order: Triggered) -> None:
    """Raise RequestError unless a workflow or schedule could run."""
    for bucket in check_order(service, caller, order):
        if not _BUCKET.match(bucket):
            message = f"{bucket[:80]!r} is not the name of a bucket"
            raise RequestError("ResourceNotFound.CosBucketNameInvalid", message)
        if bucket != URL and bucket not in service.settings.storages:
            message = f"there is no storage {bucket!r} in the settings of this service"
            raise RequestError("ResourceNotFound.CosBucketNotExist", message)
    problems = [
        problem for problem in catalog.check(order, service.settings, service.catalog.templates) if not problem.warning
    ]
    if problems:
        raise fault_of(problems)


def check_order(service: Service, caller: Caller, order: Order) -> list[str]:
    """Raise RequestError for what a caller must not ask for, wherever its tasks come from.

    Returns the buckets that the order names, each once.
    """
    buckets = list(dict.fromkeys((order.input_bucket, *buckets_of(order))))
    for bucket in buckets:
        if bucket != URL and not caller.may(bucket):
            raise RequestError("UnauthorizedOperation", f"this key pair may not name the bucket {bucket[:80]!r}")
    if any(step.kind == "command" for step in order.steps):
        message = "CommandTaskSet: is for workflow files on the service's own machine"
        raise RequestError("UnauthorizedOperation", message)
    problems = [*files.pattern_problems(order), *_notify_problems(service, order)]
    if problems:
        raise fault_of(problems)
    return buckets


def _notify_problems(service: Service, order: Order) -> list[Problem]:
    """Events that could never be delivered; names of hosts are looked up when there is something to deliver."""
    config = order.task_notify_config
    if config is None or config.notifier is not None:
        return catalog.notifier_problems(order, service.settings)
    try:
        service.guard.check(config.notify_url)
    except PermanentError as error:
        return [Problem("TaskNotifyConfig.NotifyUrl", str(error))]
    return []


def buckets_of(value: object) -> Iterator[str]:
    """All buckets that an order names, at whatever depth."""
    if isinstance(value, MediaInputInfo):
        yield value.place[0]
    elif isinstance(value, OutputStorage):
        if value.bucket:
            yield value.bucket
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from buckets_of(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from buckets_of(item)


async def check_reachable(service: Service, bucket: str) -> None:
    """Raise RequestError when the storage of a trigger refuses; one that is away for now will be back."""
    try:
        await service.settings.storages[bucket].check()
    except TransientError:
        return
    except AccessRefused as error:
        raise RequestError("FailedOperation.CosStatusInavlid", f"the storage refuses access: {error}") from None
    except PermanentError as error:
        raise RequestError("ResourceNotFound.CosBucketNotExist", str(error)) from None
