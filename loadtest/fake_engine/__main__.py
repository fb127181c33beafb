"""Serves the fake engine on loopback."""

import argparse
import asyncio
import socket
from pathlib import Path

import uvloop

from loadtest.fake_engine.connection import Connection
from loadtest.fake_engine.state import EngineState

_BACKLOG = 4096
"""Connections that may wait to be accepted; asyncio's default of 100 would refuse a burst."""


async def serve(state: EngineState, listener: socket.socket) -> None:
    """Serve on a listening socket until cancelled."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(state), sock=listener, backlog=_BACKLOG)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve on a loopback port until the process ends."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.fake_engine")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--model", default="fake", help="the name that it serves under")
    parser.add_argument("--log", type=Path, help="append a line here for each request that ended")
    words = parser.parse_args()
    log = words.log.open("ab", buffering=0) if words.log else None
    listener = socket.create_server(("127.0.0.1", words.port))
    uvloop.run(serve(EngineState(words.model, log), listener))


if __name__ == "__main__":
    main()
