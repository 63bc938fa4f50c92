"""The process that a provider works in: requests from standard input, a line each; answers as lines.

``python -m watcher.inference._child TYPE`` reads the provider's options as the first line. An answer is
``{"found": …}``, as many as there are, and then ``{"done": true}`` or ``{"error": "a sentence"}``.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from watcher import plugin
from watcher.inference.base import Provider


def main() -> None:
    """See the module. What libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(body: dict[str, Any]) -> None:
        answers.write(json.dumps(body) + "\n")
        answers.flush()

    options, implementation = plugin.find("inference", sys.argv[1], Provider)
    provider = implementation(options.model_validate_json(sys.stdin.readline()))
    loaded = False
    for line in sys.stdin:
        try:
            if not loaded:
                provider.load()
                loaded = True
            for found in provider.work(json.loads(line)):
                answer({"found": found})
            answer({"done": True})
        except Exception as error:
            said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            answer({"error": said[:500]})


if __name__ == "__main__":
    main()
