"""What the fake engine's connections share: its model's name, its counters and its log."""

import json
from typing import IO, Any, Literal

from loadtest.fake_engine.dialect import usage
from loadtest.fake_engine.script import Script

Ended = Literal["complete", "broken", "disconnected"]
"""How a request ended: answered, broken off by its script, or abandoned by its client."""

Event = Ended | Literal["completing"]
"""What the log says of a request. `completing` is logged before the answer's last bytes are sent,
so that an answer is in the log even if the engine is killed before it can log `complete`."""


class EngineState:
    """Counters of all requests, and the log.

    Args:
        model: the name under which the engine serves.
        log: unbuffered; receives JSON lines: a request's `x-request-id`, its `event`, and the
            `usage` that the client receives. Requests whose answer was not complete when the
            engine was killed have no line.
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

    def end(self) -> None:
        self.running -= 1

    def log(self, request_id: bytes, event: Event, script: Script) -> None:
        if self._log is None:
            return
        answered = event in ("completing", "complete") and not script.bare
        counts = usage(script) if answered else None
        line = {"request_id": request_id.decode("latin-1"), "event": event, "usage": counts}
        self._log.write(json.dumps(line).encode() + b"\n")
