"""Free TCP ports on loopback."""

import socket


def free_port() -> int:
    """A port that nothing listens on; another process may take it before it is used."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
