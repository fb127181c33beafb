"""Structured logs: one JSON object per line on standard error, for this code and libraries."""

import json
import logging
import logging.config
import sys
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from server.observe.log_stream import LogStream, replace_stderr


def configure_logs(level: str) -> LogStream:
    """Send every log line of this process through one JSON formatter to standard error.

    Returns the stream, which counts the lines that cannot be written.
    """
    stream = replace_stderr()
    shared: list[structlog.types.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        structlog.processors.JSONRenderer(_json_text),
                    ],
                    "foreign_pre_chain": shared,
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "loggers": {
                name: {"level": "WARNING"} for name in ("uvicorn", "alembic", "httpx", "httpcore")
            },
            "root": {"handlers": ["stderr"], "level": level.upper()},
        }
    )
    structlog.configure(  # straight to the stream: a logger of `logging` costs three times as much
        processors=[*shared, structlog.processors.JSONRenderer(_json_text)],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    return stream


def write_info(event: str, fields: dict[str, Any]) -> None:
    """Write a line of level info at a third of what a logger's costs, for every request's line."""
    if logging.getLogger().isEnabledFor(logging.INFO):
        line = {**fields, "event": event, "level": "info", "timestamp": datetime.now(UTC)}
        sys.stderr.buffer.write(_json(line) + b"\n")


def _json(line: Any, **options: Any) -> bytes:
    """A line as JSON; by `json` for what orjson refuses: lone surrogates, integers past 64 bits."""
    try:
        return orjson.dumps(line, options.get("default"), orjson.OPT_UTC_Z)
    except TypeError:
        options.setdefault("default", str)
        return json.dumps(line, **options).encode()


def _json_text(line: Any, **options: Any) -> str:
    return _json(line, **options).decode()
