"""Free TCP ports on loopback."""

import random
import socket
from contextlib import suppress

_PORTS = range(20_000, 32_768)
"""Below those that the system gives to sockets by itself, which another process could get before
the port is used."""


def free_port() -> int:
    """A port that nothing listens on."""
    for port in [*random.sample(_PORTS, 100), 0]:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as listener:
            return listener.getsockname()[1]
    raise OSError("no port is free on 127.0.0.1")
