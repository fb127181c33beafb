"""Libraries of clients, imported when they are used.

Every worker imports all test files and runs a few of them: these take one to two seconds each.
"""

import importlib
from typing import Any


class Deferred:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest looks for its own, in all that a test file names
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)


anthropic = Deferred("anthropic")
openai = Deferred("openai")
