"""Secrets are references in the configuration, resolved when it is loaded.

``${env:NAME}`` reads the environment; ``${credential:name}`` reads the file ``name`` in
``$CREDENTIALS_DIRECTORY``, where systemd's ``LoadCredential=`` puts it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from watcher.errors import Problem

_origins: dict[str, set[str]] = {}
"""What values came from that references were replaced in, so that they can be read again: secrets are renewed."""
REFERENCE = re.compile(r"\$\{(env|credential):([^}]+)\}")
_NAME = re.compile(r"[A-Za-z0-9_.-]+\Z")


def resolve(value: object, path: str, problems: list[Problem], environment: Mapping[str, str] | None = None) -> object:
    """A copy of ``value`` with every reference replaced; what can't be resolved is added to ``problems``."""
    env = os.environ if environment is None else environment
    if isinstance(value, dict):
        return {key: resolve(item, f"{path}.{key}" if path else str(key), problems, env) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, f"{path}[{index}]", problems, env) for index, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        kind, name = match.groups()
        found = env.get(name) if kind == "env" else _read_credential(name, env)
        if found is None:
            problems.append(Problem(path, _MISSING[kind].format(name=name)))
            return ""
        return found

    found = REFERENCE.sub(replace, value)
    _origins.setdefault(found, set()).add(value)
    return found


def renewed(value: str) -> str:
    """The value that a resolved one has by now: systemd, Vault and the like replace the files of credentials.

    What is no longer there, or was no reference, is as it was; so is a value of two references that differ by now.
    """
    problems: list[Problem] = []
    found = {str(resolve(origin, "", problems)) for origin in tuple(_origins.get(value, ()))}
    return found.pop() if len(found) == 1 and not problems else value


_MISSING = {
    "env": "the environment variable {name} is not set",
    "credential": "there is no credential {name}; add `LoadCredential={name}:/path/to/file` to the service, "
    "or set CREDENTIALS_DIRECTORY to a folder that holds it",
}


def _read_credential(name: str, env: Mapping[str, str]) -> str | None:
    directory = env.get("CREDENTIALS_DIRECTORY")
    if directory is None or not _NAME.match(name):
        return None
    try:
        return (Path(directory) / name).read_text(encoding="utf-8").strip()
    except OSError:
        return None
