"""Private parts of dependencies that are used: a version without one of them fails here by name.

pyproject.toml bounds uvicorn and httptools below the next minor version for this reason. To raise a
bound, run this file, tests/test_server_fast_relay.py and tests/test_server_connection.py on the new
version.
"""

import asyncio
import inspect
import re
from typing import Any

import httptools
import pytest
from prometheus_client import CollectorRegistry, Histogram
from uvicorn import Config, Server, _subprocess
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState
from uvicorn.supervisors import Multiprocess, multiprocess

from server.http.connection import Connection, Deadlines
from server.http.connection_pool import ConnectionPool
from server.observe.deferred import Distribution

LIMITS = ("1.0", "2.0", "+Inf")

USED: dict[Any, tuple[str, ...]] = {
    # server.http.connection
    HttpToolsProtocol: (
        *("_start_asgi_task", "_unset_keepalive_if_required", "connection_lost"),
        *("connection_made", "on_body"),
        *("on_headers_complete", "on_message_begin", "on_message_complete"),
        *("on_response_complete", "pause_writing", "resume_writing", "timeout_keep_alive_handler"),
    ),
    httptools.HttpRequestParser: (
        *("feed_data", "get_http_version", "get_method", "set_dangerous_leniencies"),
        "should_upgrade",
    ),
    # server.http.stoppable_server
    Server: ("main_loop", "on_tick"),
    # server.http.worker_supervisor
    Multiprocess: ("keep_subprocess_alive", "run"),
    multiprocess.Process: ("server", "target"),
    _subprocess: ("spawn",),
}


@pytest.mark.parametrize("owner", USED, ids=lambda owner: owner.__name__)
def test_classes_have_the_members_that_are_used(owner: Any) -> None:
    missing = [name for name in USED[owner] if not hasattr(owner, name)]
    assert not missing, f"{owner.__module__}.{owner.__name__} has no {', '.join(missing)}"


def test_uvicorn_s_connection_has_the_attributes_that_are_used() -> None:
    """And gives each request a new list of headers, which later ones do not reach."""

    async def application(scope: Any, receive: Any, send: Any) -> None: ...

    async def main() -> None:
        config = Config(application)
        config.load()
        state = ServerState()
        deadlines = Deadlines(head=1.0, idle=1.0, linger=1.0, write=1.0)
        connection = Connection(
            deadlines, ConnectionPool(), config=config, server_state=state, app_state={}
        )
        connection.on_message_begin()
        names = ("cycle", "flow", "headers", "loop", "parser", "pipeline", "scope", "server_state")
        for name in (*names, "timeout_keep_alive_task", "transport", "url"):
            assert hasattr(connection, name), f"uvicorn's HttpToolsProtocol has no {name}"
        headers = connection.headers
        assert connection.scope["headers"] is headers
        connection.on_message_begin()
        assert connection.headers is not headers

    asyncio.run(main())


def test_uvicorn_s_responses_have_the_attributes_that_are_used() -> None:
    attributes = {
        *("disconnected", "keep_alive", "message_event", "more_body", "response_complete"),
        *("response_started", "transport"),
        # server.http.response_head
        *("chunked_encoding", "default_headers", "expected_content_length", "flow"),
        "waiting_for_100_continue",
    }
    assert attributes <= set(RequestResponseCycle.__init__.__code__.co_names)
    used = set(RequestResponseCycle.send.__code__.co_names)
    assert {"transport", "write", "close", "keep_alive", "on_response"} <= used


def test_uvicorn_uses_its_events_as_light_event_has_them() -> None:
    has = {"set", "clear", "wait"}
    event = FlowControl.__init__.__code__.co_names, FlowControl.drain.__code__.co_names
    assert all("_is_writable_event" in names for names in event)
    for owner in (FlowControl, RequestResponseCycle, HttpToolsProtocol):
        source = inspect.getsource(owner)
        used = re.findall(r"(?:message_event|_is_writable_event)\.(\w+)", source)
        assert used
        assert set(used) <= has


def test_prometheus_client_s_histograms_have_the_attributes_that_are_used() -> None:
    """`server.observe.deferred` adds to their buckets, whose counts are not cumulative."""
    registry = CollectorRegistry()
    histogram = Histogram("waits", "Waits.", ("x",), registry=registry, buckets=(1, 2)).labels("y")
    kept = Distribution(histogram, (1, 2))
    for wait in (1, 1.5, 9):
        kept.observe(wait)
        histogram.observe(wait)
    kept.flush()
    kept.flush()
    counts = [registry.get_sample_value("waits_bucket", {"x": "y", "le": le}) for le in LIMITS]
    assert counts == [2, 4, 6]
    assert registry.get_sample_value("waits_sum", {"x": "y"}) == 23


def test_an_upgrade_stops_the_parser_with_the_offset_of_the_remaining_data() -> None:
    parser = httptools.HttpRequestParser(object())
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    head = b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    with pytest.raises(httptools.HttpParserUpgrade) as upgrade:
        parser.feed_data(head + b"body")
    assert upgrade.value.args[0] == len(head)


def test_uvicorn_s_workers_have_the_attributes_that_are_used() -> None:
    assert STARTUP_FAILURE != 0
    assert "timeout_worker_healthcheck" in inspect.signature(Config).parameters
    attributes = Multiprocess.__init__.__code__.co_names
    assert {"processes", "should_exit"} <= set(attributes)
