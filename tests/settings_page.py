"""docs/settings.md from the settings themselves: ``python -m tests.settings_page > docs/settings.md``."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from watcher import plugin, sections, settings
from watcher.executors.base import Executor
from watcher.inference.base import Provider
from watcher.notifiers.base import Notifier
from watcher.sources.base import Source
from watcher.storage.base import Storage

HEAD = """# Settings

Made from the code by `python -m tests.settings_page > docs/settings.md`; a test keeps the two alike.

The settings are a YAML file: the one named with `--config`, else `$WATCHER_CONFIG`, `config/watcher.yaml`,
`watcher.yaml` or `/etc/watcher/watcher.yaml`. Paths in it are relative to the file. Every setting can come from the
environment too, which wins: `WATCHER_MEDIA__SPEED=slow`, `WATCHER_EXECUTOR__SLOTS=4`.

Secrets are references: `${env:NAME}` reads the environment, `${credential:name}` a file in `$CREDENTIALS_DIRECTORY`,
where systemd's `LoadCredential=` puts it. Durations are written `500ms`, `30s`, `5m`, `2h`, `7d`; sizes `64MiB`, `8GB`.

`watcher check` reports every mistake at once, each with its path.
"""

FAMILIES = (
    ("storages", "storage", Storage, "Buckets, by the name that triggers use. `storages: {NAME: {type: …, …}}`"),
    ("sources", "sources", Source, "Where object events come from. `sources: {NAME: {type: …, …}}`"),
    ("notifiers", "notifiers", Notifier, "Where task events go. `notifiers: {NAME: {type: …, …}}`"),
    ("executor", "executors", Executor, "Where units run. `executor: {type: …, …}`"),
    ("ai.text, ai.speech", "inference", Provider, "Who reads and who listens. `ai: {text: {type: …, …}, speech: …}`"),
)


def _plain(text: str | None) -> str:
    return re.sub(r"\s+", " ", (text or "").replace("``", "`")).strip().replace("|", "\\|")


def _default(name: str, field: Any) -> str:
    if field.is_required():
        return "required"
    if name == "slots":
        return "a quarter of the processors"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value in (None, "", {}, (), []):
        return ""
    if isinstance(value, tuple):
        return " ".join(f"`{item}`" for item in value) if any(value) else ""
    return f"`{value}`"


def _rows(model: type[BaseModel], skip: tuple[str, ...] = ()) -> list[str]:
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        if name not in skip:
            lines.append(f"| `{name}` | {_default(name, field)} | {_plain(field.description)} |")
    return [*lines, ""]


def page() -> str:
    """The whole page."""
    named: dict[str, type[BaseModel]] = {
        "media": sections.MediaSettings,
        "ai": sections.AiSettings,
        "discovery": sections.DiscoverySettings,
        "api": sections.ApiSettings,
        "metrics": sections.MetricsSettings,
        "outside": sections.OutsideSettings,
        "log": sections.LogSettings,
        "retention": sections.RetentionSettings,
    }
    families = tuple(title for title, *_ in FAMILIES)
    lines = [HEAD, "## Top level", "", *_rows(settings._Body, (*families, *named))]
    for title, model in named.items():
        lines += [f"## `{title}`", "", _plain(model.__doc__), "", *_rows(model)]
        if model is sections.ApiSettings:
            pair = sections.CredentialSettings
            lines += ["Each of `credentials`:", "", *_rows(pair)]
    for title, family, contract, text in FAMILIES:
        lines += [f"## `{title}`", "", text, ""]
        for name in plugin.names(family):
            options, _ = plugin.find(family, name, contract)
            lines += [f"### `type: {name}`", "", _plain(options.__doc__), ""]
            lines += _rows(options) if options.model_fields else []
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(page(), end="")
