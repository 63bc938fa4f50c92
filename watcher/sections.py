"""The sections of ``watcher.yaml`` that are the same whatever is plugged in, with their defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from watcher.log import Format, Level
from watcher.plugin import Bytes, Seconds


class Section(BaseModel):
    """A part of the settings: what it does not know is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class LogSettings(Section):
    """How the daemon logs, on standard output."""

    level: Level = "info"
    """The least important lines that are shown."""
    format: Format = "auto"
    """``auto`` is JSON under systemd and text elsewhere."""


class MediaSettings(Section):
    """How media is processed."""

    ffmpeg: str | None = None
    """The ffmpeg program; unset for the one that comes along (imageio-ffmpeg)."""
    work_dir: Path | None = None
    """Where inputs and outputs are kept while a task runs; unset: ``work`` beside the state."""
    containment: Literal["auto", "bubblewrap", "limits"] = "auto"
    """What keeps ffmpeg in: ``auto`` is the strongest that works here. ``bubblewrap`` refuses to start without it."""
    speed: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"] = (
        "veryfast"
    )
    """Preset of x264 and x265: slower ones make better pictures of the same bit rate."""
    hardware: Literal["off", "auto", "nvenc", "qsv", "vaapi"] = "off"
    """Encoders in hardware for H.264, H.265 and AV1, where they work: faster, and larger for the same picture."""
    chunks: Annotated[Seconds, Field(ge=0)] = 0.0
    """A film that is longer than twice this is encoded as chunks of about this length, side by side; 0 is off. Worth
    it where a unit has many threads; see docs/benchmarks.md."""
    spare_probe: bool = True
    """Whether a process that looks at the next source is kept ready: a task starts a tenth of a second sooner, and
    about 45 MB are in use all the time."""
    fonts: Path | None = None
    """A folder of fonts for watermarks and subtitles; those of the system are always looked at."""
    min_free_space: Bytes = 256 * 1024**2
    """No task is started while the work directory's disk has less free space."""


class AiSettings(Section):
    """The models of the intelligent tasks. Each capability is served by a provider, named by its ``type``."""

    text: dict[str, Any] | None = None
    """What reads text on the screen; unset: ``{type: rapidocr}``, where it is installed."""
    speech: dict[str, Any] | None = None
    """What writes down speech; unset: ``{type: pocketsphinx}``, where it is installed."""
    codes: dict[str, Any] | None = None
    """What finds bar codes and QR codes; unset: ``{type: zxing}``, where it is installed."""
    faces: dict[str, Any] | None = None
    """What recognises faces; unset: ``{type: dlib}``, where it is installed."""
    nudity: dict[str, Any] | None = None
    """What sees nudity; unset: ``{type: nudenet}``, where it is installed."""
    vision: dict[str, Any] | None = None
    """What says what pictures show: a server, ``{type: openai, url: …, model: …}``."""
    violence: dict[str, Any] | None = None
    """What sees violence; unset: what ``vision`` names. Or a model: ``{type: onnx, model: …, classes: …}``."""
    description: dict[str, Any] | None = None
    """What says what a film is about; unset: what ``vision`` names."""
    translation: dict[str, Any] | None = None
    """What translates what is said: a server, ``{type: openai, url: …, model: …}``."""
    objects: dict[str, Any] | None = None
    """What finds objects: a model, ``{type: onnx, model: …, classes: …}``."""
    cuts: dict[str, Any] | None = None
    """What finds cuts; unset: ``{type: scenedetect}``, where it is installed."""
    frame_interval: Annotated[Seconds, Field(ge=0.04, le=3600)] = 1.0
    """Time between two pictures that are looked at."""
    memory: Annotated[Bytes, Field(ge=512 * 1024**2)] = 6 * 1024**3
    """Address space that the process of one provider may use."""
    idle: Annotated[Seconds, Field(gt=0)] = 300.0
    """A provider that was asked nothing for so long gives its memory back."""
    stall: Annotated[Seconds, Field(gt=0)] = 300.0
    """A provider that finds nothing for so long is ended."""


Rights = Literal["none", "read", "operator", "admin"]


class CredentialSettings(Section):
    """A key pair that may call the API."""

    secret_id: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
    """The public half."""
    secret_key: SecretStr
    """The secret half; write it as ``${credential:name}`` or ``${env:NAME}``."""
    rights: Rights = "admin"
    """``read``: look at everything. ``operator``: also start, end and switch. ``admin``: also make, change, remove."""
    buckets: list[str] = ["*"]
    """Buckets it may name, with ``*`` for any text; tasks over other ones are hidden from it."""


class ApiSettings(Section):
    """The MPS API over HTTP. It is served when ``listen`` is set."""

    listen: Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$")] | None = None
    """Address and port, e.g. ``127.0.0.1:8080``. Put TLS before it, or name a certificate, if it is not loopback."""
    certificate: Path | None = None
    """A certificate (chain) in PEM form: TLS is spoken. It is read anew when it changes."""
    certificate_key: Path | None = None
    """Its key; unset: in the same file."""
    credentials: list[CredentialSettings] = []
    """Key pairs, besides those that ``watcher credentials create`` made."""
    limits: dict[str, Annotated[int, Field(ge=1, le=1_000_000)]] = {}
    """Calls a second, for each key pair, by action, where they differ from those of the model."""
    session_window: Annotated[Seconds, Field(gt=0, le=30 * 86_400)] = 3 * 86_400.0
    """How long a SessionId can't be used again."""
    max_workflows: Annotated[int, Field(ge=1)] = 100_000
    """Workflows and schedules there may be."""


class MetricsSettings(Section):
    """Metrics for Prometheus, and whether the service is alive and ready. Served when ``listen`` is set."""

    listen: Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$")] | None = None
    """Address and port, e.g. ``127.0.0.1:9464``; nobody is asked for a password there."""


class OutsideSettings(Section):
    """What requests may have this machine fetch from and call: URL inputs, callbacks. Workflow files may call all."""

    allow: list[str] = []
    """Networks, addresses and host names besides public ones, e.g. ``10.1.0.0/16`` or ``hooks.internal``."""
    max_size: Bytes = 20 * 1024**3
    """The largest input that is fetched from an address."""
    timeout: Annotated[Seconds, Field(gt=0)] = 3600.0
    """How long a fetch may take; a server that is silent for a minute is given up sooner."""


class DiscoverySettings(Section):
    """What counts as a new object, and how what notifications miss is found."""

    versions: Literal["latest", "every"] = "latest"
    """``latest``: what was overwritten before it was heard of starts nothing. ``every``: each version of a versioned
    bucket does."""
    min_size: Bytes = 1
    """Smaller objects start nothing; their next version may."""
    sweeps: bool = True
    """Whether buckets that enabled workflows watch are listed now and then, also where notifications come from them.
    Those that have a source of type s3_poll are left to it."""
    sweep_interval: Annotated[Seconds, Field(gt=0)] = 600.0
    """Pause between two such sweeps of a bucket; longer where ``requests_per_month`` asks for it."""
    requests_per_month: Annotated[int, Field(ge=0)] = 200_000
    """LIST requests that these sweeps may make in a month, for each bucket; 0: no limit."""
    alarm_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Where more than this share of the new objects of a bucket was found by a sweep although notifications come from
    it, the log says so."""


class RetentionSettings(Section):
    """How long finished tasks are kept. The ledger of objects is never emptied by time."""

    tasks: Annotated[Seconds, Field(gt=0)] = 30 * 86_400.0
    """Finished tasks and delivered events older than this are forgotten."""
