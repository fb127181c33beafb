"""A response in few writes has what uvicorn writes, piece by piece."""

import asyncio
import logging
from typing import Any
from weakref import ref

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from server.http.response_head import begin_response


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def response(wire: Any, keep_alive: bool = True) -> RequestResponseCycle:
    logger = logging.getLogger(__name__)
    return RequestResponseCycle(
        scope={"type": "http", "method": "POST"},  # pyright: ignore[reportArgumentType] - all that is read of it
        transport=wire,
        flow=FlowControl(wire),
        logger=logger,
        access_logger=logger,
        access_log=False,
        default_headers=[(b"server", b"tests")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: None,
    )


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("length", [5, None])
def test_the_head_is_the_same_and_the_body_follows(keep_alive: bool, length: int | None) -> None:
    headers = [(b"content-type", b"text/plain"), (b"x-tops-reason", "caf\xe9".encode("latin-1"))]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    last = {"type": "http.response.body", "body": b"lo"}
    bodies = [{"type": "http.response.body", "body": b"hel", "more_body": True}, last]

    async def main() -> tuple[Wire, Wire]:
        ours, theirs = Wire(), Wire()
        cycle = response(theirs, keep_alive)
        await cycle.send({"type": "http.response.start", "status": 429, "headers": headers})
        ours_cycle = response(ours, keep_alive)
        for body in bodies:
            await cycle.send(body)  # pyright: ignore[reportArgumentType]
        if length is None:
            write = begin_response(ref(ours_cycle), 429, headers, None)
            assert write is not None
            assert write(b"hel")
            await ours_cycle.send(last)  # pyright: ignore[reportArgumentType]
        else:
            assert begin_response(ref(ours_cycle), 429, headers, b"hello") is not None
        assert ours_cycle.response_complete
        return ours, theirs

    ours, theirs = asyncio.run(main())
    assert ours.written == theirs.written
    assert ours.is_closed == theirs.is_closed == (not keep_alive)


def test_a_value_with_a_control_character_is_refused() -> None:
    async def main() -> None:
        wire = Wire()
        cycle = response(wire)
        with pytest.raises(RuntimeError, match="header value"):
            begin_response(ref(cycle), 200, [(b"retry-after", b"1\r\nset-cookie: a=b")], b"")
        assert not wire.written

    asyncio.run(main())


def test_nothing_is_written_to_a_client_that_has_gone() -> None:
    async def main() -> None:
        wire = Wire()
        cycle = response(wire)
        cycle.disconnected = True
        assert begin_response(ref(cycle), 200, [], b"") is None
        assert not wire.written

    asyncio.run(main())


def test_a_client_that_reads_too_slowly_gets_nothing_more() -> None:
    async def main() -> None:
        wire = Wire()
        cycle = response(wire)
        write = begin_response(ref(cycle), 200, [], None)
        assert write is not None
        head = wire.written
        cycle.flow.write_paused = True
        assert not write(b"text")
        assert begin_response(ref(cycle), 200, [], b"text") is None
        assert wire.written == head
        cycle.flow.write_paused = False
        assert write(b"text")
        assert wire.written == head + b"4\r\ntext\r\n"

    asyncio.run(main())
