"""What the fake engine's connections share: its model's name, its counters and its log."""

import json
from typing import IO, Any, Literal

from loadtest.fake_engine.dialect import usage
from loadtest.fake_engine.script import Script

Ended = Literal["complete", "broken", "disconnected"]
"""How a request ended: answered, broken off by its script, or abandoned by its client."""


class EngineState:
    """Counters of all requests, and the log.

    Args:
        model: the name under which the engine serves.
        log: unbuffered; receives one JSON line per request that ended: its `x-request-id`, how it
            `ended`, and the `usage` that the client received. Requests in flight when the engine
            is killed have no line.
    """

    def __init__(self, model: str = "fake", log: IO[bytes] | None = None) -> None:
        self._model = model
        self._log = log
        self.requests = 0
        self.messages = 0
        self.running = 0
        self.chunks = 0

    def describe(self, url: bytes) -> dict[str, Any]:
        """The answer to every other path: the models, or the counters."""
        if url.endswith(b"/models"):
            return {"object": "list", "data": [{"id": self._model, "max_model_len": 1_000_000}]}
        names = ("requests", "messages", "running", "chunks")
        return {name: getattr(self, name) for name in names}

    def begin(self, messages: int) -> None:
        self.requests += 1
        self.messages += messages
        self.running += 1

    def end(self, request_id: bytes, ended: Ended, script: Script) -> None:
        self.running -= 1
        if self._log is None:
            return
        counts = usage(script) if ended == "complete" and not script.bare else None
        line = {"request_id": request_id.decode("latin-1"), "ended": ended, "usage": counts}
        self._log.write(json.dumps(line).encode() + b"\n")
