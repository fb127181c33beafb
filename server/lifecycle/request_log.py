"""Writes the log line of a closed request: numbers and names, prompts only where allowed."""

from typing import Any

from server.lifecycle.record import RequestRecord
from server.observe.logs import write_info


def write_request_line(record: RequestRecord) -> None:
    """Write one line with the event `request`."""
    assert record.closed_at is not None
    line: dict[str, Any] = {
        "request_id": record.request_id,
        "caller": record.caller,
        "model": record.model,
        "status": record.status,
        "seconds": round(record.closed_at - record.opened_at, 4),
    }
    if record.decision is not None:
        line |= record.tops() | {
            "arm": record.decision.arm,
            "kind": record.decision.kind,
            "reason": record.decision.reason,
            "abstained": record.decision.abstained,
        }
    spent = record.spent
    if spent is not None:
        line |= {"prompt_tokens": spent.prompt, "answer_tokens": spent.answer}
    if record.prompt_json is not None:
        line["prompt"] = record.prompt_json
    write_info("request", line)
