"""Log lines are JSON, whatever values they have."""

import json

import pytest
import structlog

from server.observe.logs import configure_logs


def test_a_line_is_json_for_any_value(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info")
    try:
        log = structlog.get_logger("test")
        log.info("plain", tokens=3, path=ValueError("odd"))
        log.info("large", tokens=2**80)
        log.info("broken", text="\ud800")
    finally:
        structlog.reset_defaults()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["plain", "large", "broken"]
    assert (lines[0]["tokens"], lines[1]["tokens"], lines[2]["text"]) == (3, 2**80, "\ud800")
    assert all(line["level"] == "info" and line["timestamp"].endswith("Z") for line in lines)
