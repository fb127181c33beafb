"""A request as its gateway or engine recorded it when it closed the request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ClosedRequest:
    """A line of the gateway's log, a row of its ledger, or a line of the engine's log.

    Attributes:
        thinking: thinking tokens; None where they are unknown.
        answer: answer tokens; None where they are unknown.
        decided: whether the gateway chose an effort, so that the ledger has a row.
    """

    request_id: str
    status: int
    thinking: int | None
    answer: int | None
    decided: bool = True

    @classmethod
    def of_gateway_log(cls, line: Mapping[str, Any]) -> "ClosedRequest":
        counts = (line.get("thinking_tokens"), line.get("answer_tokens"))
        return cls(line["request_id"], line["status"], *counts, decided="effort" in line)

    @classmethod
    def of_engine_log(cls, line: Mapping[str, Any]) -> "ClosedRequest":
        usage: Mapping[str, Any] | None = line["usage"]
        if usage is None:
            return cls(line["request_id"], 200, None, None)
        thinking: int = usage["completion_tokens_details"]["reasoning_tokens"]
        return cls(line["request_id"], 200, thinking, usage["completion_tokens"] - thinking)
