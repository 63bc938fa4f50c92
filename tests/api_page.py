"""docs/api.md from the actions themselves: ``python -m tests.api_page > docs/api.md``."""

from __future__ import annotations

from watcher.api.table import ACTIONS, LATER, OUT

HEAD = """# The API

The actions of Tencent Cloud MPS (version 2019-06-12) over HTTP, for the official SDKs, `tccli`, and anything that
signs requests as they do. What changes in a program is on the page [moving from MPS](moving-from-mps.md);
[openapi.json](openapi.json) describes every request. Both pages are made from the code (`python -m tests.api_page >
docs/api.md`, `python -m tests.openapi_page > docs/openapi.json`); tests keep them alike.

## Serving it

```yaml
api:
  listen: 127.0.0.1:8080
```

```sh
watcher credentials create                                  # all rights; prints SecretId and SecretKey
watcher credentials create --rights operator --bucket 'clips-*'
watcher credentials list                                    # and revoke
```

Key pairs can be in the settings too, as `api.credentials`, with `secret_key: "${credential:api_key}"` for systemd's
`LoadCredential=`. A running service hears of new and revoked ones at once.

| rights | may |
|---|---|
| `none` | nothing: calls are answered with `FailedOperation.InvalidMpsUser` |
| `read` | Describe…, ParseNotification |
| `operator` | also ProcessMedia, ManageTask, Enable…, Disable… |
| `admin` | also Create…, Modify…, Reset…, Delete… |

`buckets` are patterns of the buckets a pair may name, in whatever member of a request; workflows, schedules and tasks
over other ones are hidden from it. Templates and samples belong to all.

Nothing is served unsigned but `/healthz`. The addresses of pictures in answers (`ImageUrl`, `Url`) are signed for a
day, and end with the process. Listen on loopback, behind a proxy that speaks TLS, or set `api.certificate`.

## How it answers

- Signatures: TC3-HMAC-SHA256 in `Authorization`, or HmacSHA1 and HmacSHA256 in forms and queries. The clock may
  differ by five minutes. `UNSIGNED-PAYLOAD` is accepted over TLS. Temporary credentials (`Token`) and multipart
  bodies are refused.
- A call that changes something is good once: the same signature again, more than two seconds later, is a replay.
- Bodies: JSON up to 10 MiB, forms up to 1 MiB, queries up to 32 KiB. Numbers may come as texts.
- Errors come with status 200 and the codes of the model. Unknown members are refused, at every depth, by
  `UnknownParameter`; messages name the member, and all that is wrong at once. They are in English.
- Limits are for each key pair and action, a second's worth at once; `api.limits` changes them.
- Lists are newest first. Own templates come before presets.

## What differs from the original

- A bucket is the name of a storage in the settings. Key pairs of storages (`S3SecretId`, `S3SecretKey`) are in the
  settings, and refused in requests.
- What files made is shown and can't be changed by requests, and the other way round.
- `NotifyKey` is not shown again. `TaskNotifyConfig` of the kinds CMQ, TDMQ-CMQ, SCF and AWS-SQS names a notifier of
  the settings, in `QueueName`, `TopicName` or `SQSQueueName`: `mqtt`, `sqs`, `amqp`, `webhook` or `directory`.
- URL inputs and callbacks of requests reach public addresses only, and those of `outside.allow`. Those of workflow
  files reach all.
- `ManageTask` knows `SetTaskPriority` with `TasksPriority` besides `Abort`. An aborted task ends with `FINISH` and
  `ErrCode` 30010.
- A task of `ProcessMedia` is about the version of the object that is there when it begins.
- `TaskType: Offline` waits until no other task waits or runs, and becomes like the others after three days.
- A schedule's rules (`action-exec-rules`) may stand behind the input or a transcode, and compare facts of the file:
  `Resolution` (short side), `Width`, `Height`, `Duration`, `Bitrate`, `Size`, `Fps`, `VideoCodec`, `AudioCodec`,
  `HasVideo`, `HasAudio`. `Value` may begin with an operator, `>=720`; without one it has to be equal. Numbers behind
  a key (`Resolution-1`) only tell conditions apart. A node reads the source, or what the transcode before it made.
- Of the intelligent tasks there are the parts that [their page](intelligent.md) names. A template that asks for others
  is refused when a workflow names it; so are `ResourceId` and VOD storages.
- `FailedOperation.BucketNotifyAlreadyExist`, `.GenerateResource`, `.GetSourceNotify` and `.SetSourceNotify` never
  occur: enabling a workflow changes nothing at the bucket. `FailedOperation.CosStatusInavlid` says that the bucket
  refused access when a workflow over it was enabled.

## All actions of the media family
"""

NOTES = {
    "ResetWorkflow": "replaces the whole body of a disabled workflow",
    "DeleteWorkflow": "of a disabled workflow",
    "ProcessMedia": "COS, AWS-S3 and URL inputs; sessions; online and offline; schedules and own graphs",
    "DescribeTasks": "of the last seven days; those over pictures are listed apart",
    "ProcessImage": "JPEG, PNG, BMP, WebP (GIF is read); Format, Quality, Denoise, SharpEnhance; the rest needs models",
    "ManageTask": "Abort and, ours, SetTaskPriority, while a task waits",
    "ParseNotification": "of events as any notifier sends them",
    "CreatePersonSample": "pictures are opened and measured; that a face is on them is not checked yet",
    "DescribePersonSamples": "there is no default library",
    "CreateWatermarkTemplate": "the picture is opened before it is kept",
}


def page() -> str:
    """The whole page."""
    lines = [HEAD, "| action | state | rights | calls a second |", "|---|---|---|---|"]
    for name, action in sorted(ACTIONS.items()):
        note = f": {NOTES[name]}" if name in NOTES else ""
        lines.append(f"| `{name}` | works{note} | {action.rights.name.lower()} | {action.rate} |")
    for names, state in ((LATER, "not yet"), (OUT, "out of scope")):
        lines += [f"| `{name}` | {state} | | |" for name in sorted(names.split())]
    lines += [
        "",
        "Those that are not here answer `UnsupportedOperation`; what is no action at all, `InvalidAction`. Generative, "
        "live and streaming actions of the model are not listed and answer the latter.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
