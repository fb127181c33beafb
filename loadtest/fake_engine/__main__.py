"""Serves the fake engine on loopback."""

import asyncio
import socket
from pathlib import Path

import click
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


@click.command()
@click.option("--port", type=int, default=8001, show_default=True, metavar="PORT")
@click.option("--model", default="fake", show_default=True, metavar="NAME", help="Served name.")
@click.option(
    "--log", type=click.Path(path_type=Path), metavar="FILE",
    help="Append a line per request that ended.",
)  # fmt: skip
def main(port: int, model: str, log: Path | None) -> None:
    """Serve scripted answers on loopback; the last message of a request is its script."""
    stream = log.open("ab", buffering=0) if log else None
    listener = socket.create_server(("127.0.0.1", port))
    uvloop.run(serve(EngineState(model, stream), listener))


if __name__ == "__main__":
    main(prog_name="python -m loadtest.fake_engine")
