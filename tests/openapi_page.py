"""docs/openapi.json from the actions themselves: ``python -m tests.openapi_page > docs/openapi.json``."""

from __future__ import annotations

import json

from watcher.api.openapi import document


def page() -> str:
    """The whole document."""
    return json.dumps(document(), indent=1, ensure_ascii=False, sort_keys=False) + "\n"


if __name__ == "__main__":
    print(page(), end="")
