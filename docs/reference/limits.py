"""The rows of the page on limits: the gateway's own, from the code, beside those of two proxies."""

from collections.abc import Iterator
from typing import Any, cast

from docs.reference.markdown import page, table
from server.config.settings import Settings
from server.engines import connector
from server.http import body, connection, json_codec, sse

_INTRODUCTION = """\
What a client or an engine can take of the gateway's time and memory is bounded. The values of nginx
and Envoy are the defaults that their documentation gives (nginx 1.29, Envoy 1.39), with the name of
the directive or field. Limits without a setting are fixed. [Operate](../guides/operate.md) says how
they work together."""

_HEAD = ("limit", "default", "setting", "nginx", "Envoy")

_OFF = "none"
_ROWS: tuple[tuple[str, str, str, str], ...] = (
    (
        "client connections of a process",
        "max_connections",
        "512 `worker_connections`, those to upstreams included",
        "none; overload manager",
    ),
    (
        "time until line and headers of a request are complete, from accept or first byte",
        "header_timeout",
        "60 s `client_header_timeout`",
        "none `request_headers_timeout`",
    ),
    (
        "bytes of line and headers",
        "MAX_HEAD_BYTES",
        "4 x 8 KiB `large_client_header_buffers`",
        "60 KiB `max_request_headers_kb`",
    ),
    ("number of headers", "MAX_HEADERS", _OFF, "100 `max_headers_count`"),
    (
        "bytes of trailers, which are dropped",
        "MAX_HEAD_BYTES",
        "dropped",
        "dropped `enable_trailers`",
    ),
    (
        "time until a body is complete",
        "body_timeout",
        "60 s between two reads `client_body_timeout`",
        "none `request_timeout`; 5 min without a byte `stream_idle_timeout`",
    ),
    ("bytes of a body", "max_body_bytes", "1 MiB `client_max_body_size`", _OFF),
    ("JSON values in a body", "max_body_values", "-", "-"),
    ("JSON arrays and objects in a body", "CONTAINERS", "-", "-"),
    ("levels of nested JSON", "MAX_DEPTH", "-", "-"),
    ("bytes of an event of an engine's stream", "MAX_EVENT_BYTES", "-", "-"),
    (
        "time to read the answer to a request whose body was not read",
        "lingering_timeout",
        "5 s between two reads `lingering_timeout`, 30 s in total `lingering_time`",
        "1 s `delayed_close_timeout`",
    ),
    (
        "time of a connection without a request",
        "idle_timeout",
        "75 s `keepalive_timeout`",
        "1 h `idle_timeout`",
    ),
    (
        "time without a byte read by the client",
        "client_write_timeout",
        "60 s `send_timeout`",
        "5 min `stream_idle_timeout`",
    ),
    (
        "time to connect to an engine",
        "CONNECT_SECONDS",
        "60 s `proxy_connect_timeout`",
        "5 s `connect_timeout`",
    ),
    (
        "time without a byte from an engine",
        "upstream_timeout",
        "60 s `proxy_read_timeout`",
        "15 s for all of the answer, route `timeout`",
    ),
    (
        "requests in flight of an API key",
        "max_in_flight",
        "none `limit_conn`",
        "1,024 of a cluster `max_requests`",
    ),
    (
        "requests per minute, and per day, of an API key",
        "requests_per_minute",
        "none `limit_req`",
        "none; local or global rate limit",
    ),
    (
        "thinking tokens per minute, and per day, of an API key",
        "thinking_tokens_per_minute",
        "-",
        "-",
    ),
    (
        "time of requests in flight after SIGTERM",
        "shutdown_timeout",
        "none `worker_shutdown_timeout`",
        "600 s `--drain-time-s`",
    ),
)

_FIXED = {
    "MAX_HEAD_BYTES": f"{connection.MAX_HEAD_BYTES // 2**10} KiB",
    "MAX_HEADERS": f"{connection.MAX_HEADERS:,}",
    "MAX_DEPTH": f"{json_codec.MAX_DEPTH:,}",
    "MAX_EVENT_BYTES": f"{sse.MAX_EVENT_BYTES // 2**20} MiB",
    "CONNECT_SECONDS": f"{connector.CONNECT_SECONDS} s",
    "CONTAINERS": f"a {body.VALUES_PER_CONTAINER}th of `max_body_values`",
}


def text() -> str:
    return page("Limits", _INTRODUCTION, table(_HEAD, [*_rows()]))


def _rows() -> Iterator[tuple[str, ...]]:
    """The cells of each limit, in the order of _HEAD."""
    for meaning, name, nginx, envoy in _ROWS:
        if name in _FIXED:
            yield meaning, _FIXED[name], "-", nginx, envoy
        else:
            yield meaning, _default(name), f"`{name}`", nginx, envoy


def _default(name: str) -> str:
    field = Settings.model_fields.get(name)
    if name == "max_connections":
        return "half of the free file descriptors"
    if field is None or field.default is None:
        return _OFF
    unit = cast("dict[str, Any]", field.json_schema_extra)["metavar"]
    if unit == "BYTES":
        return f"{field.default // 2**20} MiB"
    return f"{field.default:,}" + (" s" if unit == "SECONDS" else "")
