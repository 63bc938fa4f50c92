"""The settings: ``watcher.yaml`` and the environment, every mistake reported with its path, all at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast, get_args

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from watcher import credentials, plugin, yamlfile
from watcher.errors import ConfigurationError, Problem
from watcher.executors.base import Executor
from watcher.inference.base import Chosen, Provider
from watcher.log import Format, Level
from watcher.model.findings import CAPABILITIES, Capability
from watcher.notifiers.base import Notifier
from watcher.plugin import Seconds
from watcher.sections import (
    AiSettings,
    ApiSettings,
    DiscoverySettings,
    LogSettings,
    MediaSettings,
    MetricsSettings,
    OutsideSettings,
    RetentionSettings,
)
from watcher.sources.base import Source
from watcher.state._postgresql import PostgresqlBackend
from watcher.state._sqlite import SqliteBackend
from watcher.state.database import Backend
from watcher.storage.base import Storage

SHORTEST_KEY = 16
"""Characters a secret key has at least."""

SEARCHED = ("config/watcher.yaml", "watcher.yaml", "/etc/watcher/watcher.yaml")
"""Where a configuration is looked for when none is named."""


USUAL: dict[Capability, str] = {
    "text": "rapidocr",
    "speech": "pocketsphinx",
    "codes": "zxing",
    "faces": "dlib",
    "nudity": "nudenet",
    "cuts": "scenedetect",
}
"""The provider of a capability where the settings name none."""
SAME_AS: dict[Capability, Capability] = {"violence": "vision", "description": "vision"}
"""The capability whose provider serves another one too, where the settings name none for it."""


class _Body(BaseSettings):
    """The shape of the file. Families are read as plain data here and handed to their plugins afterwards."""

    model_config = SettingsConfigDict(
        env_prefix="WATCHER_", env_nested_delimiter="__", extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    state: str = "sqlite:///watcher.db"
    """Where the state is kept: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, for one daemon;
    ``postgresql://user:password@host/database``, which several may share."""
    storages: dict[str, dict[str, Any]] = {}
    """Buckets, by the name that triggers use."""
    sources: dict[str, dict[str, Any]] = {}
    """Where object events come from."""
    notifiers: dict[str, dict[str, Any]] = {}
    """Where task events go, for all workflows."""
    executor: dict[str, Any] = {"type": "embedded"}
    """Where units run."""
    workflows: Path = Path("workflows")
    """Folder of workflow files: CreateWorkflow bodies plus ``Enabled: true``."""
    templates: Path = Path("templates")
    """Folder of template files; the presets are always there."""
    samples: Path = Path("samples")
    """Folder of word and person samples as files, which intelligent tasks look for."""
    max_hops: Annotated[int, Field(ge=1, le=100)] = 3
    """How many workflows may feed each other in a row, where they accept outputs."""
    drain: Annotated[Seconds, Field(ge=0)] = 30.0
    """How long running tasks may go on after SIGTERM before they are put back into the queue."""
    media: MediaSettings = MediaSettings()
    ai: AiSettings = AiSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    api: ApiSettings = ApiSettings()
    metrics: MetricsSettings = MetricsSettings()
    outside: OutsideSettings = OutsideSettings()
    log: LogSettings = LogSettings()
    retention: RetentionSettings = RetentionSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which is passed in as the initial values."""
        assert isinstance(init_settings, InitSettingsSource)  # noqa: S101
        return env_settings, init_settings


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, checked. Paths are absolute; families hold objects that were made but not opened yet."""

    file: Path
    state: Backend
    workflows: Path
    templates: Path
    samples: Path
    work_dir: Path
    max_hops: int
    drain: float
    media: MediaSettings
    ai: AiSettings
    providers: dict[Capability, Chosen]
    discovery: DiscoverySettings
    api: ApiSettings
    metrics: MetricsSettings
    outside: OutsideSettings
    log: LogSettings
    retention: RetentionSettings
    storages: Mapping[str, Storage]
    sources: Mapping[str, Source]
    notifiers: Mapping[str, Notifier]
    executor: Executor
    executor_options: plugin.Options
    warnings: tuple[Problem, ...] = field(default=())

    @property
    def regions(self) -> dict[str, str]:
        """The region of each storage that has one."""
        return {name: storage.region for name, storage in self.storages.items() if storage.region is not None}


def find(given: Path | None) -> Path:
    """The configuration file: the one given, ``$WATCHER_CONFIG``, or the first of the usual places."""
    if given is None and os.environ.get("WATCHER_CONFIG"):
        given = Path(os.environ["WATCHER_CONFIG"])
    if given is not None:
        if given.is_file():
            return given.absolute()
        raise ConfigurationError([Problem(str(given), "there is no such configuration file")])
    for place in SEARCHED:
        if Path(place).is_file():
            return Path(place).absolute()
    raise ConfigurationError(
        [
            Problem(
                "",
                f"no configuration was found in {', '.join(SEARCHED)}; name one with --config, or try `watcher demo`",
            )
        ]
    )


def load(file: Path) -> Settings:
    """Read and check a configuration; raises ConfigurationError with every mistake in it."""
    problems: list[Problem] = []
    body = _read(file, problems)
    if body is None:
        raise ConfigurationError(problems)
    base = file.parent
    storages = _family(body.storages, "storages", "storage", Storage, problems)
    named = _Named(body, storages, base, problems)
    sources = named.sources()
    notifiers = _family(_absolute(body.notifiers, base), "notifiers", "notifiers", Notifier, problems)
    executor, options = named.executor()
    providers = named.providers()
    state = named.state()
    api = _api(body.api, base, problems)
    if problems or executor is None or options is None or state is None:
        raise ConfigurationError(problems)
    return Settings(
        file=file,
        state=state,
        workflows=base / body.workflows,
        templates=base / body.templates,
        samples=base / body.samples,
        work_dir=base / body.media.work_dir if body.media.work_dir else _beside(state, base) / "work",
        max_hops=body.max_hops,
        drain=body.drain,
        media=body.media,
        ai=body.ai,
        providers=providers,
        discovery=body.discovery,
        api=api,
        metrics=body.metrics,
        outside=body.outside,
        log=body.log,
        retention=body.retention,
        storages=storages,
        sources=sources,
        notifiers=notifiers,
        executor=executor,
        executor_options=options,
    )


def _api(given: ApiSettings, base: Path, problems: list[Problem]) -> ApiSettings:
    """With absolute paths; what does not fit together is added to ``problems``."""
    if given.certificate_key is not None and given.certificate is None:
        problems.append(Problem("api.certificate", "is required where certificate_key is given"))
    seen: set[str] = set()
    for index, credential in enumerate(given.credentials):
        if credential.secret_id in seen:
            problems.append(Problem(f"api.credentials[{index}].secret_id", "is there twice"))
        seen.add(credential.secret_id)
        if len(credential.secret_key.get_secret_value()) < SHORTEST_KEY:
            message = f"must have at least {SHORTEST_KEY} characters; `watcher credentials create` makes good ones"
            problems.append(Problem(f"api.credentials[{index}].secret_key", message))
    paths = {name: base / path for name in ("certificate", "certificate_key") if (path := getattr(given, name))}
    return given.model_copy(update=paths)


def _peek(file: Path) -> dict[str, Any]:
    """The file's data, unchecked; empty when it can't be had."""
    try:
        data = yamlfile.read(file)
    except ConfigurationError:
        return {}
    return data if isinstance(data, dict) else {}


def workflow_folder(file: Path) -> Path:
    """Where the workflows are, even if the rest of the configuration is wrong."""
    return file.parent / str(_peek(file).get("workflows", "workflows"))


def log_choice(file: Path) -> tuple[Level, Format]:
    """Level and format of the log, before anything else is read: mistakes are to be logged that way too."""
    given = _peek(file).get("log")
    given = given if isinstance(given, dict) else {}
    level = os.environ.get("WATCHER_LOG__LEVEL", given.get("level"))
    form = os.environ.get("WATCHER_LOG__FORMAT", given.get("format"))
    return (
        cast("Level", level) if level in get_args(Level) else "info",
        cast("Format", form) if form in get_args(Format) else "auto",
    )


def _read(file: Path, problems: list[Problem]) -> _Body | None:
    try:
        data = yamlfile.read(file)
    except ConfigurationError as error:
        problems.extend(error.problems)
        return None
    data = {} if data is None else data
    if not isinstance(data, dict):
        problems.append(Problem(str(file), "must be a mapping of settings"))
        return None
    resolved = cast("dict[str, Any]", credentials.resolve(data, "", problems))
    _absolute_storages(resolved, file.parent)
    try:
        return _Body(**resolved)
    except ValidationError as error:
        problems.extend(_problems(error, ""))
        return None


def _absolute_storages(data: dict[str, Any], base: Path) -> None:
    """Paths in the file are relative to the file, not to wherever the daemon was started."""
    storages = data.get("storages")
    if isinstance(storages, dict):
        for options in storages.values():
            if isinstance(options, dict) and isinstance(options.get("root"), str):
                options["root"] = str(base / options["root"])


def _absolute(notifiers: dict[str, dict[str, Any]], base: Path) -> dict[str, dict[str, Any]]:
    return {
        name: {**options, "path": str(base / options["path"])} if isinstance(options.get("path"), str) else options
        for name, options in notifiers.items()
    }


def _problems(error: ValidationError, path: str) -> list[Problem]:
    found = []
    for item in error.errors(include_url=False):
        place = path
        for part in item["loc"]:
            place = f"{place}[{part}]" if isinstance(part, int) else f"{place}.{part}" if place else str(part)
        found.append(Problem(place, _sentence(item)))
    return found


def _sentence(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return "there is no such setting; is it misspelt?"
    if item["type"] == "missing":
        return "is required"
    return plugin.sentence(item)


def _options(
    raw: Mapping[str, Any], path: str, family: str, contract: type, problems: list[Problem]
) -> tuple[plugin.Options, Any] | None:
    """The options and the class that one entry of a family stands for."""
    if not isinstance(raw.get("type"), str):
        problems.append(Problem(f"{path}.type", f"is required: one of {', '.join(plugin.names(family))}"))
        return None
    try:
        options_class, implementation = plugin.find(family, raw["type"], contract)
        return options_class(**{key: value for key, value in raw.items() if key != "type"}), implementation
    except plugin.UnknownTypeError as error:
        problems.append(Problem(f"{path}.type", str(error)))
    except ValidationError as error:
        problems.extend(_problems(error, path))
    return None


def _family(
    raw: dict[str, dict[str, Any]], path: str, family: str, contract: type, problems: list[Problem], *rest: Any
) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, entry in raw.items():
        found = _options(entry, f"{path}.{name}", family, contract, problems)
        if found is None:
            continue
        options, implementation = found
        try:
            made[name] = implementation(name, options, *rest)
        except ValueError as error:
            problems.append(Problem(f"{path}.{name}", str(error)))
    return made


@dataclass(slots=True)
class _Named:
    """The parts of the configuration that refer to other parts by name."""

    body: _Body
    storages: dict[str, Storage]
    base: Path
    problems: list[Problem]

    def sources(self) -> dict[str, Source]:
        """Sources whose storage exists."""
        usable = {}
        for name, entry in self.body.sources.items():
            storage = entry.get("storage")
            if storage is not None and storage not in self.storages:
                if storage not in self.body.storages:
                    known = ", ".join(sorted(self.body.storages)) or "none"
                    message = f"there is no storage {storage!r}; there is: {known}"
                    self.problems.append(Problem(f"sources.{name}.storage", message))
                continue
            usable[name] = entry
        return _family(usable, "sources", "sources", Source, self.problems, self.storages)

    def executor(self) -> tuple[Executor | None, plugin.Options | None]:
        """The executor with its options."""
        found = _options(self.body.executor, "executor", "executors", Executor, self.problems)
        if found is None:
            return None, None
        options, implementation = found
        return cast("Executor", implementation(options)), options

    def providers(self) -> dict[Capability, Chosen]:
        """The provider of each capability, where there is one."""
        found: dict[Capability, Chosen] = {}
        ai = self.body.ai
        given: dict[Capability, dict[str, Any] | None] = {name: getattr(ai, name) for name in CAPABILITIES}
        for capability, entry in given.items():
            wanted = entry if entry is not None else given.get(SAME_AS.get(capability, capability))
            if wanted is None and capability in USUAL:
                wanted = {"type": USUAL[capability]}
            chosen = wanted and _options(wanted, f"ai.{capability}", "inference", Provider, self.problems)
            if not wanted or not chosen:
                continue
            options, provider = chosen
            paths = {name: self.base / file for name, file in options if isinstance(file, Path)}
            options = options.model_copy(update=paths)
            problem = provider.problem(options)
            if capability not in provider.serves:
                problem = f"a provider of type {wanted['type']} does not serve {capability}"
            if not problem:
                raw = {key: value for key, value in wanted.items() if key != "type"}
                raw |= {name: str(file) for name, file in paths.items()}
                found[capability] = Chosen(wanted["type"], provider, raw, tuple(provider.files(options)))
            elif entry is not None:
                self.problems.append(Problem(f"ai.{capability}", problem))
        return found

    def state(self) -> Backend | None:
        """Where the tables are."""
        given = self.body.state
        if given.startswith("sqlite:///"):
            return SqliteBackend(self.base / given.removeprefix("sqlite:///"))
        if given.startswith(("postgresql://", "postgres://")):
            try:
                return PostgresqlBackend(given)
            except ConfigurationError as error:
                self.problems.extend(error.problems)
                return None
        message = (
            f"{given.partition('://')[0]!r} is not supported; write sqlite:////var/lib/watcher/watcher.db, or "
            "postgresql://user:password@host/database where several daemons share it"
        )
        self.problems.append(Problem("state", message))
        return None


def _beside(state: Backend, base: Path) -> Path:
    """The folder of the state's file, or that of the settings."""
    return state.path.parent if isinstance(state, SqliteBackend) else base
